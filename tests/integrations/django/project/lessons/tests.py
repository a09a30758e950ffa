"""Run by `manage.py test`: what a team's own tests see of rindle-sync."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from rindle_sync.errors import AlreadyTracked, ConfigurationError, ReadOnly
from rindle_sync.integrations.django import rindle
from rindle_sync.integrations.django.models import (
    AssetChange,
    AssetState,
    ProviderAsset,
    WebhookEvent,
)
from rindle_sync.providers.mux import sign
from tests.integrations.django.project.lessons.models import Lesson


def a_row(reference: str = "lesson-1") -> Any:
    """A row of a video that the provider processes."""
    return rindle.track(reference=reference, provider_asset_id=f"asset-of-{reference}")


class InATestCase(TestCase):
    """Nothing of it is ever committed."""

    def test_a_tracked_row_is_read_by_the_orm_and_by_the_service(self) -> None:
        """Both read through the connection of the test."""
        row = a_row()
        self.assertEqual(ProviderAsset.objects.get().row, row)
        self.assertEqual(rindle.get(row.id), row)
        self.assertEqual(rindle.find_by_reference("lesson-1"), [row])
        self.assertEqual(rindle.find_by_provider_id("asset-of-lesson-1"), [row])
        self.assertEqual(rindle.list().rows, (row,))
        self.assertEqual(list(rindle.list_all()), [row])
        self.assertEqual(rindle.count(), 1)
        self.assertEqual(rindle.explain(row).state, row.state)

    def test_the_tests_before_have_left_nothing(self) -> None:
        """Whatever their order."""
        self.assertEqual(ProviderAsset.everywhere.count(), 0)
        self.assertEqual(rindle.count(), 0)

    def test_a_savepoint_that_is_rolled_back_takes_the_row_with_it(self) -> None:
        """Also where the app goes on."""
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            a_row()
            _ = 1 / 0
        self.assertEqual(ProviderAsset.objects.count(), 0)

    def test_a_refused_row_leaves_the_transaction_usable(self) -> None:
        """An error of ours undoes our part alone."""
        a_row()
        with self.assertRaises(AlreadyTracked):
            rindle.track(reference="lesson-2", provider_asset_id="asset-of-lesson-1")
        self.assertEqual(ProviderAsset.objects.count(), 1)

    def test_a_broken_transaction_is_told_in_a_sentence(self) -> None:
        """As Django does for its own statements."""
        with transaction.atomic():
            transaction.set_rollback(True)
            with self.assertRaisesMessage(ConfigurationError, "a statement has failed"):
                a_row()

    def test_django_s_connection_is_a_kind_that_is_taken(self) -> None:
        """The proxy, and what is behind it."""
        row = rindle.track(reference="a", provider_asset_id="asset-a", connection=connection)
        rindle.untrack(row.id, connection=connection)
        self.assertEqual(ProviderAsset.objects.count(), 0)

    def test_times_are_aware_and_compare(self) -> None:
        """To the microsecond."""
        row = a_row()
        found = ProviderAsset.objects.get(
            inserted_at__lte=timezone.now(), inserted_at__gt=timezone.now() - timedelta(minutes=5)
        )
        self.assertEqual(found.inserted_at, row.inserted_at)
        self.assertIs(found.inserted_at.tzinfo, UTC)
        self.assertEqual(ProviderAsset.objects.get(inserted_at=row.inserted_at), found)
        self.assertFalse(ProviderAsset.objects.filter(inserted_at__gt=row.inserted_at))
        self.assertEqual(
            list(
                ProviderAsset.objects.order_by("-updated_at").values_list("updated_at", flat=True)
            ),
            [row.updated_at],
        )

    def test_parts_of_times_are_looked_up(self) -> None:
        """As the filters of an admin do."""
        row = a_row()
        today = row.inserted_at
        for lookup in (
            {"inserted_at__date": timezone.localtime(today).date()},
            {"inserted_at__year": timezone.localtime(today).year},
            {"inserted_at__year__gte": timezone.localtime(today).year},
            {"inserted_at__month": timezone.localtime(today).month},
            {"inserted_at__hour": timezone.localtime(today).hour},
        ):
            with self.subTest(lookup):
                self.assertEqual(ProviderAsset.objects.filter(**lookup).count(), 1)
        self.assertFalse(ProviderAsset.objects.filter(inserted_at__year=today.year - 1))

    def test_rows_are_found_by_what_they_are(self) -> None:
        """The methods of the queryset, one after the other."""
        row = a_row()
        objects = ProviderAsset.objects
        self.assertEqual(objects.in_flight().get().state, AssetState.PROCESSING)
        self.assertFalse(objects.ready() | objects.errored())
        self.assertEqual(objects.for_reference("lesson-1", "default").get().pk, row.id)
        self.assertFalse(objects.for_reference("lesson-1", "another"))
        self.assertEqual(objects.not_deleted().in_environment("default").count(), 1)
        self.assertEqual(objects.get(pk=row.id), objects.get(pk=row))
        self.assertEqual(objects.filter(pk__in=[row.id]).count(), 1)

    def test_nothing_is_written_through_the_models(self) -> None:
        """Each way names what to call."""
        a_row()
        row = ProviderAsset.objects.get()
        for write in (
            row.save,
            row.delete,
            ProviderAsset.objects.create,
            ProviderAsset.objects.get_or_create,
            ProviderAsset.objects.update_or_create,
            ProviderAsset.objects.all().delete,
            WebhookEvent.objects.all().delete,
            AssetChange.everywhere.create,
            lambda: ProviderAsset.objects.update(state="ready"),
            lambda: ProviderAsset.objects.bulk_create([row]),
            lambda: ProviderAsset.objects.bulk_update([row], ["state"]),
        ):
            with self.assertRaisesMessage(ReadOnly, "call rindle."):
                write()
        self.assertEqual(ProviderAsset.objects.get().state, AssetState.PROCESSING)

    def test_a_row_of_another_environment_is_elsewhere(self) -> None:
        """Unless it is asked for."""
        row = a_row()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE media_provider_assets SET environment = 'another'")
        self.assertFalse(ProviderAsset.objects.all())
        self.assertEqual(ProviderAsset.everywhere.get().pk, row.id)
        self.assertFalse(ProviderAsset.everywhere.here())
        self.assertEqual(ProviderAsset.everywhere.in_environment("another").count(), 1)

    def test_what_people_read_shows_no_id_of_the_provider(self) -> None:
        """Neither as text nor for developers."""
        a_row()
        rindle.track(reference="has asset-secret-1 in it", provider_asset_id="asset-secret-1")
        for row in ProviderAsset.objects.all():
            self.assertNotIn(row.provider_asset_id, f"{row} {row!r} {row.tag}")

    def test_a_link_leads_to_the_row_and_back(self) -> None:
        """With one query, or with none."""
        row = a_row()
        Lesson.objects.create(title="one", video=row)
        Lesson.objects.create(title="two")
        lesson = Lesson.objects.get(title="one")
        self.assertEqual((lesson.video.pk, lesson.video.row), (row.id, row))
        self.assertEqual(lesson.video.lesson_set.get(), lesson)
        self.assertEqual(Lesson.objects.get(video__reference="lesson-1"), lesson)
        self.assertEqual(Lesson.objects.get(video=row), lesson)
        with self.assertNumQueries(1):
            joined = Lesson.objects.select_related("video").order_by("title")
            self.assertEqual([found.video and found.video.row for found in joined], [row, None])
        with self.assertNumQueries(2):
            fetched = Lesson.objects.prefetch_related("video").order_by("title")
            self.assertEqual([found.video and found.video.pk for found in fetched], [row.id, None])

    def test_a_link_to_a_row_that_was_untracked_is_none(self) -> None:
        """The app's object stays, with the id."""
        row = a_row()
        Lesson.objects.create(title="one", video=row)
        rindle.untrack(row.id)
        self.assertIsNone(Lesson.objects.get().video)
        self.assertIsNone(Lesson.objects.select_related("video").get().video)
        self.assertEqual(Lesson.objects.values_list("video", flat=True).get(), row.id)

    def test_deleting_the_app_s_object_leaves_the_row(self) -> None:
        """It is rindle-sync's."""
        Lesson.objects.create(title="one", video=a_row())
        Lesson.objects.all().delete()
        self.assertEqual(ProviderAsset.objects.count(), 1)

    def test_a_link_is_set_again(self) -> None:
        """By what `track` returns, by a model, or to nothing."""
        lesson = Lesson.objects.create(title="one", video=a_row())
        self.assertEqual(lesson.video.reference, "lesson-1")
        lesson.video = a_row("lesson-2")
        self.assertEqual(lesson.video.reference, "lesson-2")
        lesson.video = ProviderAsset.objects.get(reference="lesson-1")
        lesson.save()
        self.assertEqual(Lesson.objects.get().video.reference, "lesson-1")
        lesson.video = None
        lesson.save()
        self.assertIsNone(Lesson.objects.values_list("video", flat=True).get())

    def test_a_prepared_upload_is_a_part_of_the_transaction(self) -> None:
        """It is started after the commit."""
        with self.captureOnCommitCallbacks() as callbacks, transaction.atomic():
            prepared = rindle.prepare_upload(
                reference="lesson-1", cors_origin="https://app.example.com"
            )
            transaction.on_commit(lambda: rindle.start_upload(prepared))
        self.assertEqual(ProviderAsset.objects.get().state, AssetState.PENDING)
        self.assertEqual(len(callbacks), 1)

    def test_a_webhook_is_for_a_test_that_commits(self) -> None:
        """Its event would outlive this one."""
        with self.assertRaisesMessage(ConfigurationError, "use TransactionTestCase"):
            self.client.post("/webhooks/mux", b"{}", content_type="application/json")

    async def test_an_async_view_is_told_to_use_a_thread(self) -> None:
        """Instead of a loop that stands still."""
        with self.assertRaises(SynchronousOnlyOperation):
            rindle.count()


class InATransactionTestCase(TransactionTestCase):
    """Each test commits, and is flushed afterwards."""

    def test_a_row_is_committed_with_the_app_s_own(self) -> None:
        """Or neither is."""
        with transaction.atomic():
            row = a_row()
            Lesson.objects.create(title="one", video=row)
        self.assertEqual(rindle.get(row.id), row)
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            a_row("lesson-2")
            _ = 1 / 0
        self.assertEqual(rindle.count(), 1)

    def test_a_webhook_is_stored(self) -> None:
        """And leaves no connection behind, which would keep the database from being dropped."""
        with override_settings(RINDLE={"MUX_WEBHOOK_SECRETS": "secret"}):
            body = json.dumps({"type": "video.asset.ready", "id": "e", "data": {"id": "a"}})
            signature = sign(body.encode(), "secret", timezone.now())
            answer = self.client.post(
                "/webhooks/mux",
                body,
                content_type="application/json",
                headers={"Mux-Signature": signature},
            )
            self.assertEqual(answer.status_code, 202, answer.content)
            self.assertEqual(WebhookEvent.objects.pending().get().event_id, "e")
            with self.assertNumQueries(2):
                [event] = WebhookEvent.objects.all()
                self.assertEqual(bytes(event.body), body.encode())

    def test_the_test_before_has_left_nothing(self) -> None:
        """The flush of Django has emptied our tables, too, with the number of rows."""
        a_row()
        self.assertEqual(rindle.count(), 1)
        self.assertEqual(ProviderAsset.everywhere.count(), 1)

    def test_nor_has_this_one(self) -> None:
        """Whatever their order."""
        self.assertEqual(rindle.count(), 0)
        a_row()

    def test_outside_a_transaction_a_row_is_written_at_once(self) -> None:
        """And a connection without one is refused."""
        before = datetime.now(UTC)
        row = a_row()
        self.assertGreaterEqual(row.inserted_at, before)
        with self.assertRaisesMessage(ConfigurationError, "transaction.atomic()"):
            rindle.track(reference="x", provider_asset_id="asset-x", connection=connection)
