"""What is published of real data: titles, files, addresses, checksums, licences. Imports the standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Companion:
    """A further file that belongs to a source and lies beside its first: name, address and published checksum."""

    file: str
    url: str
    checksum: str


@dataclass(frozen=True)
class Source:
    """files      accepted file names, the preferred one first; ``url`` is where the first of them is published
    checksum   "md5:HEX" stated by the publisher or a well-known loader, or "" where nobody states one: it is then
               recorded at the first download
    demanded   must a download have that checksum? False where it was stated for the file at an earlier address: then
               ``verify`` says whether it agrees
    table      member (or the file itself) whose rows are the samples; ``rows_full`` of them in the original
    reader     "module:function" that reads a file with all checks and returns its number of rows
    companions files without which the first is of no use
    fetched    "always", or "by name": left out where all sources are fetched or verified, as it is large, or "by hand"
    by_hand    how to get a file that cannot be fetched
    """

    title: str
    unit: str
    folder: str
    files: tuple[str, ...]
    url: str
    checksum: str
    checksum_origin: str
    table: str
    rows_full: int
    reader: str
    licence: str
    paper: str
    demanded: bool = True
    companions: tuple[Companion, ...] = ()
    fetched: Literal["always", "by name", "by hand"] = "always"
    by_hand: str = ""


NORB = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"

SOURCES: dict[str, Source] = {
    "superconductivity": Source(
        title="Superconductivity",
        unit="superconductors",
        folder="superconductivity",
        files=("superconductivty+data.zip",),  # the publisher's own spelling
        url="https://archive.ics.uci.edu/static/public/464/superconductivty+data.zip",
        checksum="",
        checksum_origin="none is published",
        table="unique_m.csv",
        rows_full=21_263,
        reader="datasets.molecular.superconductivity:check_file",
        licence="CC BY 4.0",
        paper="Hamidieh 2018, Computational Materials Science 154; UCI 464, doi:10.24432/C53P47",
    ),
    "qm9": Source(
        title="QM9",
        unit="molecules",
        folder="qm9",
        files=("qm9.csv", "gdb9.zip", "gdb9.tar.gz"),
        url="https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/qm9.csv",
        checksum="",
        checksum_origin="none is published",
        table="qm9.csv",
        rows_full=133_885,
        reader="datasets.molecular.archive:check_file",
        licence="as stated at doi:10.6084/m9.figshare.c.978904",
        paper="Ramakrishnan et al. 2014, Scientific Data 1, 140022; Wu et al. 2018 (MoleculeNet)",
    ),
    "qm9-sdf": Source(
        title="QM9 with geometries",
        unit="molecules",
        folder="qm9",
        files=("gdb9.tar.gz", "gdb9.zip"),
        url="https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/gdb9.tar.gz",
        checksum="md5:560f62d8e6c992ca0cf8ed8d013f9131",
        checksum_origin="TorchDrug, datasets.QM9",
        table="gdb9.sdf.csv",
        rows_full=133_885,
        reader="datasets.molecular.archive:check_file",
        licence="as stated at doi:10.6084/m9.figshare.c.978904",
        paper="Ramakrishnan et al. 2014, Scientific Data 1, 140022",
    ),
    "dsprites": Source(
        title="dSprites",
        unit="images",
        folder="dsprites",
        files=("dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",),
        url="https://github.com/deepmind/dsprites-dataset/raw/master/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
        checksum="md5:7da33b31b13a06f4b04a70402ce90c2e",
        checksum_origin="latte, vaetc",
        table="imgs",
        rows_full=737_280,
        reader="datasets.images.dsprites:check_file",
        licence="Apache-2.0 (the repository's)",
        paper="Matthey, Higgins, Hassabis, Lerchner 2017, github.com/deepmind/dsprites-dataset",
        fetched="by name",
    ),
    "shapes3d": Source(
        title="3D Shapes",
        unit="images",
        folder="shapes3d",
        files=("3dshapes.h5",),
        url="https://storage.googleapis.com/3d-shapes/3dshapes.h5",
        checksum="md5:099a2078d58cec4daad0702c55d06868",
        checksum_origin="disent, latte",
        table="images",
        rows_full=480_000,
        reader="datasets.images.shapes3d:check_file",
        licence="Apache-2.0 (the repository's)",
        paper="Burgess & Kim 2018, github.com/deepmind/3d-shapes",
        fetched="by name",
    ),
    "smallnorb": Source(
        title="small NORB",
        unit="pairs of photographs",
        folder="smallnorb",
        files=("smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz",),
        url=NORB + "smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz",
        checksum="md5:66054832f9accfe74a0f4c36a75bc0a2",
        checksum_origin="disent",
        table="dat",
        rows_full=48_600,
        reader="datasets.images.smallnorb:check_file",
        licence="as stated at cs.nyu.edu/~ylclab/data/norb-v1.0-small",
        paper="LeCun, Huang, Bottou 2004, CVPR",
        companions=tuple(
            Companion(file, NORB + file, f"md5:{digest}")
            for file, digest in (
                ("smallnorb-5x46789x9x18x6x2x96x96-training-cat.mat.gz", "23c8b86101fbf0904a000b43d3ed2fd9"),
                ("smallnorb-5x46789x9x18x6x2x96x96-training-info.mat.gz", "51dee1210a742582ff607dfd94e332e3"),
                ("smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat.gz", "e4ad715691ed5a3a5f138751a4ceb071"),
                ("smallnorb-5x01235x9x18x6x2x96x96-testing-cat.mat.gz", "5aa791cd7e6016cf957ce9bdb93b8603"),
                ("smallnorb-5x01235x9x18x6x2x96x96-testing-info.mat.gz", "a9454f3864d7fd4bb3ea7fc3eb84924e"),
            )
        ),
        fetched="by name",
    ),
    "cars3d": Source(
        title="Cars3D",
        unit="images",
        folder="cars3d",
        files=("nips2015-analogy-data.tar.gz",),
        url="http://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
        checksum="md5:4e866a7919c1beedf53964e6f7a23686",
        checksum_origin="disent, latte",
        table="cars/list.txt",
        rows_full=17_568,
        reader="datasets.images.cars3d:check_file",
        licence="not stated where it is published",
        paper="Reed, Zhang, Zhang, Lee 2015, NeurIPS",
        fetched="by hand",
        by_hand="it is published over http alone, which is not fetched from: download "
        "http://www.scottreed.info/files/nips2015-analogy-data.tar.gz into $BENCH_DATA/cars3d, then "
        "python -m bench data verify cars3d",
    ),
}

SOURCES |= {
    f"mpi3d-{kind}": Source(
        title=f"MPI3D {kind}",
        unit="images",
        folder="mpi3d",
        files=(f"mpi3d_{kind}.npz",),
        url=f"https://huggingface.co/datasets/waleedgondal/mpi3d/resolve/main/mpi3d_{kind}.npz",
        checksum=f"md5:{digest}",
        checksum_origin="disent, for the file at its first address",
        demanded=False,
        table="images",
        rows_full=1_036_800,
        reader="datasets.images.mpi3d:check_file",
        licence="CC BY 4.0",
        paper="Gondal et al. 2019, NeurIPS, github.com/rr-learning/disentanglement_dataset",
        fetched="by name",
    )
    for kind, digest in (
        ("toy", "55889cb7c7dfc655d6e0277beee88868"),
        ("realistic", "59a6225b88b635365f70c91b3e52f70f"),
        ("real", "0f33f609918fb5c97996692f91129802"),
    )
}

SOURCES |= {
    name: Source(
        title=f"Embeddings of {title}",
        unit="samples",
        folder="embeddings",
        files=(f"{name}.npz",),
        url="",
        checksum="",
        checksum_origin="none: everybody makes the file",
        table="embedding",
        rows_full=rows,
        reader="datasets.shift.embedded:check_file",
        licence="that of the images or texts",
        paper=paper,
        fetched="by hand",
        by_hand=f"docs/shift.md says what is in it; to make it of images: python -m datasets.shift.embed {name} --help",
    )
    for name, title, rows, paper in (
        ("waterbirds", "Waterbirds", 11_788, "Sagawa et al. 2020, ICLR"),
        ("camelyon17", "Camelyon17-WILDS", 455_954, "Bandi et al. 2018; Koh et al. 2021, ICML"),
        ("civilcomments", "CivilComments-WILDS", 447_998, "Borkan et al. 2019; Koh et al. 2021, ICML"),
        ("pacs", "PACS", 9_991, "Li et al. 2017, ICCV"),
        ("vlcs", "VLCS", 10_729, "Fang et al. 2013, ICCV"),
        ("officehome", "OfficeHome", 15_588, "Venkateswara et al. 2017, CVPR"),
    )
}
