"""What the pages of agents show; the views beside them only ask these modules."""
