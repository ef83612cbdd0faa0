"""What the approver's pages show: the inbox, one request, several at once."""
