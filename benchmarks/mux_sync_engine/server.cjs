// The intake of @mux/sync-engine as its README has it, on the plainest server of Node, and quiet:
// its own logger would write four lines a delivery. Its ESM build does not find its migrations.
const http = require('node:http');
const { MuxSync, runMigrations } = require('@mux/sync-engine');

const { DATABASE_URL: databaseUrl, WEBHOOK_SECRET: muxWebhookSecret, PORT } = process.env;
const quiet = { info() {}, warn() {}, error: console.error };

function failed(...about) {
  console.error(...about);
  process.exit(1);
}

async function main() {
  await runMigrations({ databaseUrl, logger: { ...quiet, error: failed } });
  const muxSync = new MuxSync({
    databaseUrl, muxWebhookSecret, logger: quiet, muxTokenId: 'nobody', muxTokenSecret: 'nothing',
  });
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', async () => {
      try {
        await muxSync.processWebhook(Buffer.concat(chunks).toString(), request.headers);
        response.end('OK');
      } catch (error) {
        console.error('Webhook processing failed:', error);
        response.statusCode = 400;
        response.end('Bad Request');
      }
    });
  });
  server.listen(Number(PORT), '127.0.0.1');
}

main().catch(failed);
