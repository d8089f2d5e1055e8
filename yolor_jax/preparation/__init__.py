"""From folders, zip files and TFRecords to the directories that training reads."""
