"""The tables of rindle-sync, at its revision rindle_3."""

from django.db import migrations, models

from rindle_sync.integrations.django.fields import RowIdField, UtcTimeField
from rindle_sync.integrations.django.operations import UpgradeTables


class Migration(migrations.Migration):
    """Makes the tables, or takes them over."""

    initial = True

    operations = [
        UpgradeTables(None, "rindle_3"),
        migrations.CreateModel(
            name="ProviderAsset",
            fields=[
                ("id", RowIdField(editable=False, primary_key=True, serialize=False)),
                ("reference", models.TextField(editable=False)),
                ("profile", models.TextField(editable=False)),
                ("provider_name", models.TextField(editable=False)),
                ("environment", models.TextField(editable=False)),
                ("provider_asset_id", models.TextField(blank=True, editable=False, null=True)),
                ("provider_upload_id", models.TextField(blank=True, editable=False, null=True)),
                ("passthrough", models.TextField(blank=True, editable=False, null=True)),
                ("playback_ids", models.JSONField(editable=False)),
                ("playback_policy", models.TextField(blank=True, editable=False, null=True)),
                ("ingest_mode", models.TextField(blank=True, editable=False, null=True)),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("pending", "Pending"),
                            ("uploading", "Uploading"),
                            ("processing", "Processing"),
                            ("ready", "Ready"),
                            ("errored", "Errored"),
                            ("deleted", "Deleted"),
                        ],
                        editable=False,
                    ),
                ),
                (
                    "error_kind",
                    models.TextField(
                        blank=True,
                        choices=[
                            ("provider", "Refused by the provider"),
                            ("stuck", "Stuck"),
                            ("not_found", "Not found at the provider"),
                            ("upload", "Upload failed"),
                        ],
                        editable=False,
                        null=True,
                    ),
                ),
                ("last_sync_error", models.TextField(blank=True, editable=False, null=True)),
                ("last_event_id", models.TextField(blank=True, editable=False, null=True)),
                (
                    "last_event_at",
                    UtcTimeField(blank=True, editable=False, null=True, verbose_name="last event"),
                ),
                ("raw_provider_metadata", models.JSONField(editable=False, null=True)),
                (
                    "duration",
                    models.FloatField(
                        editable=False, null=True, verbose_name="duration in seconds"
                    ),
                ),
                ("aspect_ratio", models.TextField(blank=True, editable=False, null=True)),
                ("resolution", models.TextField(blank=True, editable=False, null=True)),
                (
                    "max_frame_rate",
                    models.FloatField(editable=False, null=True, verbose_name="frames a second"),
                ),
                ("title", models.TextField(blank=True, editable=False, null=True)),
                ("is_live", models.BooleanField(editable=False)),
                ("is_test", models.BooleanField(editable=False)),
                ("tracks", models.JSONField(editable=False)),
                ("renditions", models.JSONField(editable=False)),
                ("master", models.JSONField(editable=False, null=True)),
                (
                    "media_updated_at",
                    UtcTimeField(
                        blank=True, editable=False, null=True, verbose_name="media updated"
                    ),
                ),
                (
                    "provider_created_at",
                    UtcTimeField(editable=False, verbose_name="created at the provider"),
                ),
                ("inserted_at", UtcTimeField(editable=False, verbose_name="inserted")),
                (
                    "begun_at",
                    UtcTimeField(blank=True, editable=False, null=True, verbose_name="begun"),
                ),
                ("updated_at", UtcTimeField(editable=False, verbose_name="last real change")),
                (
                    "observed_at",
                    UtcTimeField(blank=True, editable=False, null=True, verbose_name="observed"),
                ),
                (
                    "checked_at",
                    UtcTimeField(blank=True, editable=False, null=True, verbose_name="last check"),
                ),
                (
                    "check_at",
                    UtcTimeField(blank=True, editable=False, null=True, verbose_name="next check"),
                ),
                (
                    "check_failures",
                    models.IntegerField(editable=False, verbose_name="failed checks"),
                ),
                (
                    "missing_since",
                    UtcTimeField(
                        blank=True, editable=False, null=True, verbose_name="missing since"
                    ),
                ),
                ("absent_playback_ids", models.JSONField(editable=False)),
                (
                    "playback_absent_since",
                    UtcTimeField(
                        blank=True,
                        editable=False,
                        null=True,
                        verbose_name="playback ids absent since",
                    ),
                ),
                ("decision_log", models.JSONField(editable=False)),
                ("lease_token", RowIdField(editable=False, null=True)),
                (
                    "lease_until",
                    UtcTimeField(
                        blank=True, editable=False, null=True, verbose_name="leased until"
                    ),
                ),
                ("version", models.BigIntegerField(editable=False)),
            ],
            options={
                "verbose_name": "video",
                "verbose_name_plural": "videos",
                "db_table": "media_provider_assets",
                "permissions": (
                    ("sync_providerasset", "Can sync a video and replay webhook events"),
                ),
                "managed": False,
                "default_permissions": ("view", "change", "delete"),
                "base_manager_name": "everywhere",
                "default_manager_name": "objects",
            },
            managers=[("objects", models.Manager()), ("everywhere", models.Manager())],
        ),
        migrations.CreateModel(
            name="WebhookEvent",
            fields=[
                ("id", RowIdField(editable=False, primary_key=True, serialize=False)),
                ("provider_name", models.TextField(editable=False)),
                ("environment", models.TextField(editable=False)),
                ("event_id", models.TextField(editable=False)),
                ("type", models.TextField(editable=False)),
                ("provider_asset_id", models.TextField(blank=True, editable=False, null=True)),
                ("provider_upload_id", models.TextField(blank=True, editable=False, null=True)),
                ("passthrough", models.TextField(blank=True, editable=False, null=True)),
                (
                    "occurred_at",
                    UtcTimeField(blank=True, editable=False, null=True, verbose_name="occurred"),
                ),
                ("received_at", UtcTimeField(editable=False, verbose_name="received")),
                ("headers", models.JSONField(editable=False, null=True)),
                ("body", models.BinaryField()),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("pending", "Pending"),
                            ("applied", "Applied"),
                            ("ignored", "Ignored"),
                            ("dead", "Dead"),
                        ],
                        editable=False,
                    ),
                ),
                ("attempts", models.IntegerField(editable=False)),
                (
                    "next_attempt_at",
                    UtcTimeField(
                        blank=True, editable=False, null=True, verbose_name="next attempt"
                    ),
                ),
                ("reason", models.TextField(blank=True, editable=False, null=True)),
                ("for_app", models.BooleanField(editable=False)),
                ("object_id", models.TextField(blank=True, editable=False, null=True)),
                ("lease_token", RowIdField(editable=False, null=True)),
                (
                    "lease_until",
                    UtcTimeField(
                        blank=True, editable=False, null=True, verbose_name="leased until"
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook event",
                "verbose_name_plural": "webhook events",
                "db_table": "provider_webhook_events",
                "managed": False,
                "default_permissions": ("view",),
                "base_manager_name": "everywhere",
                "default_manager_name": "objects",
            },
            managers=[("objects", models.Manager()), ("everywhere", models.Manager())],
        ),
        migrations.CreateModel(
            name="AssetChange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("reference", models.TextField(editable=False)),
                ("provider_name", models.TextField(editable=False)),
                ("environment", models.TextField(editable=False)),
                ("version", models.BigIntegerField(editable=False)),
                (
                    "kind",
                    models.TextField(
                        choices=[("state", "State"), ("media", "Media")], editable=False
                    ),
                ),
                (
                    "from_state",
                    models.TextField(
                        choices=[
                            ("pending", "Pending"),
                            ("uploading", "Uploading"),
                            ("processing", "Processing"),
                            ("ready", "Ready"),
                            ("errored", "Errored"),
                            ("deleted", "Deleted"),
                        ],
                        editable=False,
                    ),
                ),
                (
                    "to_state",
                    models.TextField(
                        choices=[
                            ("pending", "Pending"),
                            ("uploading", "Uploading"),
                            ("processing", "Processing"),
                            ("ready", "Ready"),
                            ("errored", "Errored"),
                            ("deleted", "Deleted"),
                        ],
                        editable=False,
                    ),
                ),
                (
                    "error_kind",
                    models.TextField(
                        blank=True,
                        choices=[
                            ("provider", "Refused by the provider"),
                            ("stuck", "Stuck"),
                            ("not_found", "Not found at the provider"),
                            ("upload", "Upload failed"),
                        ],
                        editable=False,
                        null=True,
                    ),
                ),
                ("trigger", models.TextField(editable=False)),
                ("reason", models.TextField(editable=False)),
                ("at", UtcTimeField(editable=False, verbose_name="changed")),
                (
                    "late_ms",
                    models.BigIntegerField(
                        editable=False, verbose_name="found late by, in milliseconds"
                    ),
                ),
                (
                    "webhook_at",
                    UtcTimeField(
                        blank=True, editable=False, null=True, verbose_name="reported by a webhook"
                    ),
                ),
                ("outputs", models.JSONField(editable=False, null=True)),
                (
                    "dispatch_at",
                    UtcTimeField(
                        blank=True, editable=False, null=True, verbose_name="dispatched next"
                    ),
                ),
                ("dispatch_attempts", models.IntegerField(editable=False)),
                ("lease_token", RowIdField(editable=False, null=True)),
                (
                    "lease_until",
                    UtcTimeField(
                        blank=True, editable=False, null=True, verbose_name="leased until"
                    ),
                ),
            ],
            options={
                "verbose_name": "change of a video",
                "verbose_name_plural": "changes of videos",
                "db_table": "provider_asset_changes",
                "managed": False,
                "default_permissions": ("view",),
                "base_manager_name": "everywhere",
                "default_manager_name": "objects",
            },
            managers=[("objects", models.Manager()), ("everywhere", models.Manager())],
        ),
    ]
