"""Serves an ASGI app below a path, beside another one."""

from rindle_sync.webhooks import App, Receive, Scope, Send, nowhere


def at_prefix(prefix: str, app: App, otherwise: App = nowhere) -> App:
    """`app` at `prefix` and below it, and `otherwise` everywhere else."""

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and (path == prefix or path.startswith(f"{prefix}/")):
            below = {**scope, "root_path": scope.get("root_path", "") + prefix}
            await app(below, receive, send)
        else:
            await otherwise(scope, receive, send)

    return routed
