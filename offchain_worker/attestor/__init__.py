"""An attestor: a challenge from the draw to the reward."""
