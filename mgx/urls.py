"""Every address: the pages, sign-in, the admin and the API (``mgx/api.py``).

``/livez``, ``/readyz`` and ``/metrics`` are answered by ``mgx/health.py`` before anything else, the
socket ``/ws/events/`` by ``mgx/asgi.py``.
"""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

urlpatterns = [
    path("", include("approvals.urls")),
    path("", include("workflows.urls")),
    path("", include("agents.urls")),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("api/v1/", include("mgx.api")),
]

handler400 = "mgx.errors.bad_request"
handler403 = "mgx.errors.forbidden"
handler404 = "mgx.errors.not_found"
handler500 = "mgx.errors.server_error"
