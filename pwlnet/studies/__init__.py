"""Studies: a TOML file that names networks, images and analyses, and one store for each network and analysis.

    read_study                            read and check a file, and everything that it names
    run_study                             compute all stores, or continue them
    estimate_study                        what a run would take: numbers of regions, bytes, seconds

``keys`` has the keys of the file as data and ``values`` the checks of their values, ``reading`` reads the file, ``inputs`` the
networks and images, ``directions`` makes lines, planes and sets of them, ``jobs`` has the jobs that are studies' own, ``tasks``
makes a job of each network and analysis, ``running`` runs them, and ``estimates`` draws samples of them.
"""

from .estimates import TaskEstimate, estimate_study
from .reading import Study, read_study
from .running import StudyResult, run_study
from .tasks import Task, make_tasks

__all__ = [
    "Study",
    "StudyResult",
    "Task",
    "TaskEstimate",
    "estimate_study",
    "make_tasks",
    "read_study",
    "run_study",
]
