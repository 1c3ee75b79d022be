"""For nbconvert: run a notebook and write it as one HTML page that opens without a network.

jupyter nbconvert --config notebooks/offline/config.py notebooks/01_quickstart.ipynb
"""

from pathlib import Path

import plotly

c = get_config()  # noqa: F821  # nbconvert reads this file
c.NbConvertApp.export_format = "html"
c.FilesWriter.build_directory = "build/notebooks"
c.ExecutePreprocessor.enabled = True
c.ExecutePreprocessor.timeout = 1200  # seconds a cell: the first one trains
c.HTMLExporter.template_name = "offline"
c.TemplateExporter.extra_template_basedirs = [str(Path(__file__).parents[1])]
c.TemplateExporter.extra_template_paths = [str(Path(plotly.__file__).parent / "package_data")]
