"""`nbdev_test`, with each page in a process of its own: a page that defines a class of the house anew changes no other page."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from nbdev import test

CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(['torch', 'nbdev.test'])  # imported once, there for each page


def tell(there, f, file, kwargs):
    there.send(f(file, **kwargs))


def apart(f, files, n_workers, pause, **kwargs):
    "What `parallel` of fastcore gives: `(passed, seconds)` for each file; a process that dies has not passed."

    def page(file):
        here, there = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=tell, args=(there, f, file, kwargs))
        process.start()
        there.close()
        try:
            return here.recv()
        except EOFError:
            return False, 0
        finally:
            process.join()

    with ThreadPoolExecutor(n_workers or 1) as pool:
        return list(pool.map(page, files))


if __name__ == '__main__':
    test.parallel = apart
    test.nbdev_test()
