"""An app whose tasks spin, crash and flood, for processes of their own."""
