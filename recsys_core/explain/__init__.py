"""Why was this recommended? A question makes a Game of a model, a user and an item; an explainer shares its value out."""
