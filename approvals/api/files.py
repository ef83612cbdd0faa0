"""The files of a request under review: what there is, what people say of each, and of its lines."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from approvals.api.serializers import PERSONS_OUTCOMES
from approvals.files import LONGEST_PATH, files_of, rolled_up
from approvals.models import FileReview, LineComment, WorkflowStepApproval
from approvals.services.decisions import MAX_FEEDBACK
from approvals.services.files import comment_line, review_file
from workflows.api.base import ApiView, caller, get_visible
from workflows.api.fields import StrictSerializer, TextField, WholeField, read_input
from workflows.api.idempotency import idempotent

_CHANGES = ["added", "changed", "deleted"]
_SIDES = ["old", "new"]


class FileReviewSerializer(serializers.ModelSerializer[FileReview]):
    """What a person says of a file. One of another ``digest`` than the request's does not count."""

    reviewer = serializers.CharField(source="reviewer.username")
    outcome = serializers.ChoiceField(PERSONS_OUTCOMES)

    class Meta:
        model = FileReview
        fields = ["id", "path", "reviewer", "outcome", "comment", "digest", "reviewed_at"]


class LineCommentSerializer(serializers.ModelSerializer[LineComment]):
    """A remark on a line of a file as it was (``old``) or becomes (``new``)."""

    author = serializers.CharField(source="author.username")
    side = serializers.ChoiceField(_SIDES)

    class Meta:
        model = LineComment
        fields = ["id", "path", "side", "line", "author", "body", "digest", "created_at"]


class FileSerializer(serializers.Serializer[Any]):
    """A file under review; its texts stand in the request's ``approval_data``."""

    path = serializers.CharField()
    change = serializers.ChoiceField(_CHANGES)
    reviews = FileReviewSerializer(many=True)
    comments = LineCommentSerializer(many=True)


class FilesSerializer(serializers.Serializer[Any]):
    """The files, and what the caller's own reviews come to: null while that is open."""

    digest = serializers.CharField()
    outcome = serializers.ChoiceField(PERSONS_OUTCOMES, allow_null=True)
    files = FileSerializer(many=True)


class FileReviewRequest(StrictSerializer):
    """What is said of a file; saying it anew replaces it. ``digest``: of what the person saw."""

    path = TextField(max_length=LONGEST_PATH)
    outcome = serializers.ChoiceField(PERSONS_OUTCOMES)
    comment = TextField(required=False, default="", allow_blank=True, max_length=MAX_FEEDBACK)
    digest = TextField(required=False, allow_null=True, default=None, max_length=64)


class LineCommentRequest(StrictSerializer):
    """A remark on a line, counted from 1."""

    path = TextField(max_length=LONGEST_PATH)
    side = serializers.ChoiceField(_SIDES, required=False, default="new")
    line = WholeField(min_value=1, max_value=2**31 - 1)
    body = TextField(max_length=MAX_FEEDBACK)
    digest = TextField(required=False, allow_null=True, default=None, max_length=64)


class Files(ApiView):
    serializer_class = FilesSerializer
    queryset = WorkflowStepApproval.objects.all()

    def get(self, request: Request, id: Any) -> Response:
        """The files of a request with their reviews and remarks, as its content is now."""
        approval = _approval(request, id)
        reviews, remarks = _by_path(FileReview, approval), _by_path(LineComment, approval)
        listed = [
            {
                "path": file.path,
                "change": file.change,
                "reviews": reviews.get(file.path, []),
                "comments": remarks.get(file.path, []),
            }
            for file in files_of(approval)
        ]
        outcome = rolled_up(approval, caller(request))
        shown = {"digest": approval.digest, "outcome": outcome, "files": listed}
        return Response(FilesSerializer(shown).data)


class FileReviews(ApiView):
    serializer_class = FileReviewSerializer
    queryset = FileReview.objects.all()
    scopes = {"POST": "decide"}
    orderings = {"reviewed_at": "reviewed_at"}

    def get(self, request: Request, id: Any) -> Response:
        """What people said of the files of a request, the earliest first."""
        reviews = FileReview.objects.filter(approval=_approval(request, id))
        return self.answer_page(reviews.select_related("reviewer"))

    @extend_schema(request=FileReviewRequest, responses={200: FileReviewSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Say something of one file. It decides nothing, but the decision must not contradict."""
        given = read_input(FileReviewRequest, request.data)
        review = review_file(id, user=caller(request), **given)
        return Response(self.get_serializer(review).data)


class FileComments(ApiView):
    serializer_class = LineCommentSerializer
    queryset = LineComment.objects.all()
    orderings = {"created_at": "created_at"}

    def get(self, request: Request, id: Any) -> Response:
        """The remarks on lines of the files of a request, the earliest first."""
        remarks = LineComment.objects.filter(approval=_approval(request, id))
        return self.answer_page(remarks.select_related("author"))

    @extend_schema(request=LineCommentRequest, responses={201: LineCommentSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Remark on a line of a file."""
        given = read_input(LineCommentRequest, request.data)
        remark = comment_line(id, user=caller(request), **given)
        return Response(self.get_serializer(remark).data, status=status.HTTP_201_CREATED)


def _approval(request: Request, id: Any) -> WorkflowStepApproval:
    visible = WorkflowStepApproval.objects.visible_to(caller(request))
    approval: WorkflowStepApproval = get_visible(
        visible.only("id", "digest", "approval_data"), pk=id
    )
    return approval


def _by_path(model: Any, approval: WorkflowStepApproval) -> dict[str, list[Any]]:
    """Return the reviews or remarks on the content as it is, by the path of their file."""
    person = "reviewer" if model is FileReview else "author"
    found: dict[str, list[Any]] = {}
    rows = model.objects.filter(approval=approval, digest=approval.digest)
    for row in rows.select_related(person):
        found.setdefault(row.path, []).append(row)
    return found
