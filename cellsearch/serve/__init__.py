"""A card as a local web page and REST API: FastAPI on uvicorn, neither torch nor ray."""
