"""Cards and predictions in the formats of others: BioImage.IO, the Hub, and the bench's own."""
