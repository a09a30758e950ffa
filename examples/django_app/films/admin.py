"""Films in the admin; their videos are in that of rindle-sync."""

from django.contrib import admin

from films.models import Film


@admin.register(Film)
class FilmAdmin(admin.ModelAdmin):
    """Films, and how their videos stand."""

    list_display = ("title", "video", "published_at", "changes")
    list_select_related = ("video",)
    readonly_fields = ("video", "changes")
