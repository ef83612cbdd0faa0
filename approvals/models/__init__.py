"""The models of approvals; each module names what it is about."""

from approvals.models.conversation import (
    ApprovalComment,
    ApprovalQuestion,
    FileOutcome,
    FileReview,
    LineComment,
    SeenApproval,
)
from approvals.models.decisions import ApprovalDecision, DecisionChain, Door, Outcome
from approvals.models.notifications import (
    ApprovalLink,
    Channel,
    Notification,
    NotificationKind,
    NotificationPreference,
)
from approvals.models.requests import ApprovalApprover, ApprovalStatus, Risk, WorkflowStepApproval
from approvals.models.standing import Delegation, StandingGrant

__all__ = [
    "ApprovalApprover",
    "ApprovalComment",
    "ApprovalDecision",
    "ApprovalLink",
    "ApprovalQuestion",
    "ApprovalStatus",
    "Channel",
    "DecisionChain",
    "Delegation",
    "Door",
    "FileOutcome",
    "FileReview",
    "LineComment",
    "Notification",
    "NotificationKind",
    "NotificationPreference",
    "Outcome",
    "Risk",
    "SeenApproval",
    "StandingGrant",
    "WorkflowStepApproval",
]
