""".env.template: names every setting, and means the same to silt, `docker run --env-file` and systemd."""

import re
import unittest

from deploy import project

TEMPLATE = ".env.template"


def settings_of_template():
    """Every setting of the template, switched on or not, with what stands behind the `=`."""
    return dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", project.text(TEMPLATE), re.M))


class TemplateTest(unittest.TestCase):
    def test_it_names_every_setting(self):
        of_files = {f"{name}_FILE" for name in project.secrets()}
        self.assertEqual(settings_of_template().keys() - of_files, project.settings().keys() - of_files)

    def test_defaults_are_silts(self):
        for name, value in settings_of_template().items():
            self.assertEqual(value, project.settings()[name] or "", name)

    def test_every_reader_takes_the_same(self):
        for name, value in settings_of_template().items():
            # Docker would take quotes and comments as part of a value, systemd would take a backslash away.
            self.assertNotRegex(value, r"""["'\\]|\s#|^\s|\s$""", name)

    def test_what_is_switched_on_must_be_filled_in(self):
        self.assertEqual(project.env_lines(TEMPLATE), {"MONGODB_URI": "", "AZURE_STORAGE_ACCOUNT_NAME": ""})


if __name__ == "__main__":
    unittest.main()
