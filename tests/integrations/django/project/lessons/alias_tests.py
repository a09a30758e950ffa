"""Tests of a project whose videos are in a second database, run by Django's own runner."""

import unittest

from django.core.management import CommandError, call_command
from django.test import TestCase, TransactionTestCase

from rindle_sync.errors import ConfigurationError
from rindle_sync.integrations.django import rindle
from rindle_sync.testing.django import RindleTestCase, RindleTestMixin
from tests.integrations.django.project.lessons.models import Lesson

REMEDY = 'databases = {"default", "videos"}'


def track() -> None:
    """Track a video."""
    rindle.track(reference="lesson-1", provider_asset_id="asset-1")


class NotNamedTestCase(TransactionTestCase):
    """It names `default` alone."""

    def test_the_database_of_development_is_refused(self) -> None:
        """For writing, for reading, and by the command."""
        for act in (
            track,
            rindle.count,
            lambda: rindle.begin_upload(reference="a", cors_origin="*"),
        ):
            with self.assertRaisesMessage(ConfigurationError, REMEDY):
                act()
        with self.assertRaises(CommandError):
            call_command("rindle", "track", "lesson-1", "asset-1")


class PlainTestCase(unittest.TestCase):
    """Django does not know of it."""

    def test_the_database_of_development_is_refused(self) -> None:
        """As in a test case of Django's."""
        with self.assertRaisesRegex(ConfigurationError, "add the alias to `databases`"):
            track()


class NamedTestCase(TransactionTestCase):
    """It names both."""

    databases = {"default", "videos"}

    def test_the_test_database_is_used(self) -> None:
        """And is emptied afterwards."""
        self.assertEqual(rindle.count(), 0)
        track()
        self.assertEqual(rindle.count(), 1)

    test_once_more = test_the_test_database_is_used


class HelpedTestCase(RindleTestCase):
    """The helper names it."""

    def test_the_helper_has_named_the_alias(self) -> None:
        """Beside `default`."""
        self.assertEqual(self.databases, {"default", "videos"})
        row = rindle.track(reference="lesson-1", provider_asset_id=self.mux.create_asset())
        self.mux.finish(row)
        self.mux.deliver()
        self.assertEqual([found.state for found in rindle.list().rows], ["ready"])

    def test_videos_of_the_other_database_are_fetched_with_the_objects_of_the_app(self) -> None:
        """By one query on each database."""
        for number in range(3):
            Lesson.objects.create(
                title="It",
                video=rindle.track(
                    reference=f"lesson-{number}", provider_asset_id=self.mux.create_asset()
                ),
            )
        with self.assertNumQueries(1), self.assertNumQueries(1, using="videos"):
            lessons = Lesson.objects.prefetch_related("video")
            self.assertEqual({lesson.video.state for lesson in lessons}, {"processing"})


class HelpedInATransactionTestCase(RindleTestMixin, TestCase):
    """So does the mixin."""

    def test_what_joins_the_transaction_works(self) -> None:
        """And nothing else does."""
        track()
        self.assertEqual(rindle.count(), 1)
