"""Whether our credentials open the environment that the rows belong to."""

from rindle_sync.domain import ATTEMPTS, redact_id
from rindle_sync.errors import EnvironmentMismatch, ProviderError
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.provider_call import Operation, call


async def check_identity(context: Context) -> None:
    """Raise `EnvironmentMismatch` unless our credentials belong to the environment that the rows were made in.

    Raises `ProviderError` and its other kinds where the provider does not tell.
    """
    async with context.identity.turn:
        found, expected = await _found(context), await _expected(context)
    if expected and found != expected:
        tags = redact_id(found), redact_id(expected)
        raise EnvironmentMismatch(
            f"the token belongs to {context.provider.name} environment {tags[0]}, the rows to {tags[1]}; use a token of "
            "that one or, if the rows have moved, name the new environment in the settings (docs/settings.md)"
        )


async def note_identity(context: Context) -> None:
    """The provider has told of one of our rows: the environment of our credentials is that of the rows, from now on.

    Does nothing where that was settled before, in this process or another, or by a setting.
    """
    identity = context.identity
    if identity.expected or identity.tries >= ATTEMPTS:
        return
    async with identity.turn:
        if identity.tries >= ATTEMPTS or await _expected(context):
            return
        identity.tries += 1
        try:
            found = await _found(context)
        except ProviderError:
            return
        await context.environments.identify(context.provider.name, context.environment, found)
        identity.expected = found


async def _found(context: Context) -> str:
    if context.identity.found is None:
        await context.rate_limiter.take()
        context.identity.found = await call(context, Operation.WHOAMI, context.provider.whoami())
    return context.identity.found


async def _expected(context: Context) -> str | None:
    identity = context.identity
    if identity.expected is None:
        known = await context.environments.get(context.provider.name, context.environment)
        identity.expected = known.provider_environment_id
    return identity.expected
