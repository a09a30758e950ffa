"""Who signs in."""

from django.contrib.auth.models import Permission, User

ALL = ("view_providerasset", "sync_providerasset", "delete_providerasset", "view_webhookevent")


def a_user(*permissions: str, name: str = "operator") -> User:
    """Somebody of the staff with these permissions."""
    # without a password: to hash one takes most of a second, and tests sign in without it
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return user
