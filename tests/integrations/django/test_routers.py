"""The routers of a project: they are asked where tables are made, and lead no read elsewhere."""

from pathlib import Path

from tests.support.django_project import DjangoProject, Migrate, a_project, database_of

ROUTERS = "tests.integrations.django.project.routers"


def test_a_router_that_keeps_the_tables_out_is_named_by_the_check(project: DjangoProject) -> None:
    routed = project.but(DATABASE_ROUTERS=[f"{ROUTERS}.ByApp"])
    routed.managed("migrate", "-v0")
    said = routed.manage("check", "--database", "default").stderr

    assert "rindle_sync.W004" in said
    assert "a router of DATABASE_ROUTERS keeps the app rindle_sync out of 'default'" in said


def test_rows_are_read_where_they_are_written_whatever_a_router_says(
    sqlite_url: str, tmp_path: Path, migrated: Migrate
) -> None:
    # it lags, as replicas do: here it has no row at all
    replica = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "replica.sqlite3")}
    databases = {"default": database_of(sqlite_url), "replica": replica}
    project = migrated(a_project(tmp_path, sqlite_url, DATABASES=databases))

    assert project.but(DATABASE_ROUTERS=[f"{ROUTERS}.ToReplica"]).python("""
        from rindle_sync.integrations.django import rindle
        from rindle_sync.integrations.django.models import ProviderAsset
        from tests.integrations.django.project.lessons.models import Lesson
        row = rindle.track(reference="one", provider_asset_id="asset-1")
        lesson = Lesson(title="it", video=ProviderAsset.objects.get())
        lesson.save(using="default")
        again = Lesson.objects.using("default").get()
        print(json.dumps([again.video.pk == row.id, rindle.get(row.id) == row]))
    """) == [True, True]
