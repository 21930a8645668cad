"""How fine-tuning works: the chapter. Read model, profiles, losses, loop, training, monitors, records, features, evaluation."""
