"""The app's own table."""

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import DateTime, Double
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Video(Base):
    __tablename__ = "videos"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: str(uuid4()))
    title: Mapped[str]
    state: Mapped[str] = mapped_column(default="pending")
    duration: Mapped[float | None] = mapped_column(Double)
    changes: Mapped[int] = mapped_column(default=0)
    """How many changes rindle-sync has reported: each counts once."""
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC)
    )
