"""The whole job: from a request to a verified card in a run folder."""
