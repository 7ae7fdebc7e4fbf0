"""What array libraries and processors offer; nothing here knows what a problem is."""
