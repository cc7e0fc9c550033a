"""Services of the role that answers any request."""
