"""Tables under charts."""

EN = {"twin.download": "Download (CSV)"}
ZH = {"twin.download": "下载 (CSV)"}
