"""The app's own tests, with rindle-sync's emulator in the place of Mux: `manage.py test`."""

from django.core.management import call_command
from django.test import TestCase
from django.urls import reverse

from films.models import Film
from rindle_sync.integrations.django import rindle
from rindle_sync.integrations.django.models import AssetChange, ProviderAsset
from rindle_sync.testing.django import RindleTestCase, RindleTestMixin, check


class FilmTests(RindleTestCase):
    """What is committed: uploads, webhooks, signals."""

    def begin(self, title: str = "Holidays") -> tuple[Film, str]:
        """A new film, and the URL for its file."""
        answer = self.client.post(reverse("upload"), {"title": title})
        self.assertEqual(answer.status_code, 201)
        return Film.objects.get(title=title), answer.json()["url"]

    def receive_file(self, url: str) -> None:
        """The browser has sent the file to Mux, which says so."""
        self.mux.receive_file(url)
        self.mux.deliver()

    def finish(self, film: Film) -> None:
        """Mux says: ready now."""
        film.refresh_from_db()
        self.mux.finish(film.video)
        self.mux.deliver()

    def page_of(self, film: Film) -> str:
        return self.client.get(reverse("film", args=[film.pk])).content.decode()

    def add_existing(self, asset_id: str) -> int:
        video = {"title": "Old", "provider_asset_id": asset_id}
        return self.client.post(reverse("add-existing"), video).status_code

    def test_an_uploaded_film_is_published_and_played_once_it_is_ready(self) -> None:
        film, url = self.begin()
        before = self.page_of(film)
        self.receive_file(url)
        meanwhile = self.page_of(film)
        self.finish(film)
        after = self.page_of(film)
        film.refresh_from_db()

        self.assertIn("This video is being uploaded.", before)
        self.assertIn("This video is being processed.", meanwhile)
        self.assertIn("https://stream.mux.com/", after)
        self.assertIsNotNone(film.published_at)
        self.assertIn("Holidays", self.client.get(reverse("index")).content.decode())

    def test_each_change_of_a_video_counts_once(self) -> None:
        asset_id = self.mux.create_asset()
        self.assertEqual(self.add_existing(asset_id), 201)
        self.mux.finish(asset_id)
        self.mux.deliver()
        film = Film.objects.get()

        self.assertGreater(film.changes, 0)
        self.assertEqual(film.changes, AssetChange.objects.of(film.video).count())

    def test_a_webhook_that_never_comes_is_made_up_for_by_a_check(self) -> None:
        film, url = self.begin()
        self.receive_file(url)
        asset_id = ProviderAsset.objects.get(pk=film.video_id).provider_asset_id
        self.mux.finish_asset(asset_id)
        self.mux.lose_webhooks()

        check(film.video)
        film.refresh_from_db()

        self.assertTrue(film.video.is_ready)
        self.assertIsNotNone(film.published_at)

    def test_a_film_that_the_provider_cannot_use_says_so(self) -> None:
        film, url = self.begin()
        self.receive_file(url)
        film.refresh_from_db()
        self.mux.fail(film.video, "the file is no video")
        self.mux.deliver()

        self.assertIn("This video could not be processed.", self.page_of(film))

    def test_neither_table_has_a_film_whose_tracking_is_refused(self) -> None:
        asset_id = self.mux.create_asset()

        self.assertEqual([self.add_existing(asset_id), self.add_existing(asset_id)], [201, 409])
        self.assertEqual(Film.objects.count(), 1)
        self.assertEqual(ProviderAsset.objects.count(), 1)

    def test_a_provider_that_is_away_is_told_and_the_upload_can_be_begun_again(self) -> None:
        fault = self.mux.add_fault("unauthorized")
        answer = self.client.post(reverse("upload"), {"title": "Holidays"})
        self.mux.remove_fault(fault)
        film = Film.objects.get()
        again = self.client.post(reverse("upload-again", args=[film.pk]))

        self.assertEqual(answer.status_code, 503)
        self.assertEqual(again.status_code, 200)
        self.receive_file(again.json()["url"])
        self.finish(film)
        self.assertIn("https://stream.mux.com/", self.page_of(film))

    def test_a_page_that_was_reloaded_gets_its_upload_again(self) -> None:
        film, url = self.begin()
        again = self.client.post(reverse("upload-again", args=[film.pk])).json()["url"]

        self.assertEqual(again, url)
        self.assertEqual(self.mux.calls["create_upload"], 1)

    def test_a_deleted_film_leaves_no_row_in_either_table(self) -> None:
        film, _ = self.begin()
        self.client.post(reverse("delete", args=[film.pk]))

        self.assertEqual(Film.objects.count(), 0)
        self.assertEqual(ProviderAsset.objects.count(), 0)


class PageTests(RindleTestMixin, TestCase):
    """What needs no commit may stay in one transaction, which is faster."""

    def test_a_film_without_a_video_has_a_page(self) -> None:
        film = Film.objects.create(title="To come")
        page = self.client.get(reverse("film", args=[film.pk])).content.decode()

        self.assertIn("There is no video.", page)

    def test_a_tracked_video_is_in_the_transaction_of_the_test(self) -> None:
        row = rindle.track(reference="film-1", provider_asset_id=self.mux.create_asset())
        film = Film.objects.create(title="Holidays", video=row)

        self.assertEqual(film.video.state, "processing")
        self.assertIn("Processing", self.client.get(reverse("index")).content.decode())

    def test_no_migration_is_missing(self) -> None:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
