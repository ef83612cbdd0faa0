"""An app whose tasks write down that they ran: what the engine says is held to it."""
