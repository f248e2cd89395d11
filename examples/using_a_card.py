"""What a card is for: verify it, then classify cells with numpy and onnxruntime alone.

Run: python examples/using_a_card.py CARD IMAGES.npy
"""

import sys

import numpy as np

from cellsearch import load_card

card = load_card(sys.argv[1])
print(f"{card.verify().cells} test cells replayed")

images = np.load(sys.argv[2])  # (N, C, H, W), intensities as the camera gave them
probabilities = card.predict(images)[:10]
for index, given in enumerate(card.decide(probabilities)):
    print(f"cell {index}: {card.classes[given]} ({probabilities[index, given]:.2f})")
