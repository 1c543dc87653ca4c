"""Units described: what drives them, what they tell apart, pictures made for them, words."""
