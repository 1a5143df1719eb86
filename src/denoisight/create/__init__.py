"""Images that did not exist: from words, or from images that are noised and denoised again under their captions."""
