"""What the report says and shows: one module per chapter, arranged for the template beside them."""
