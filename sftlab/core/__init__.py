"""How fine-tuning works: model, profiles, losses, loop, training, monitors, records, features, evaluation."""
