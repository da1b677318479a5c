"""An application that knows of no tenants."""
