//! Pure maths: models, markets, margin, calibration.
