"""A small video site: FastAPI, SQLAlchemy, Alembic, and rindle-sync on the same database."""
