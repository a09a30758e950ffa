"""What a video provider must do, and how each one does it."""

from rindle_sync.providers.base import CreatedUpload, Page, Provider, UploadRequest
