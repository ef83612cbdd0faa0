"""What people are told outside the pages: who of what, by mail, by a link, to an address."""
