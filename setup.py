"Packaging reads everything from settings.ini: edit there, not here."
import shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_packages

cfg = ConfigParser(delimiters=['='])
cfg.read('settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
lib = cfg['lib_path']
licenses = {'apache2': 'Apache-2.0', 'mit': 'MIT', 'bsd3': 'BSD-3-Clause'}

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license=licenses[cfg['license']],
    long_description=Path('README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    packages=find_packages(include=[lib, f'{lib}.*']), package_data={lib: shlex.split(cfg.get('package_data', ''))},
    python_requires='>=' + cfg['min_python'], install_requires=shlex.split(cfg.get('requirements', '')),
    extras_require={k.removesuffix('_requirements'): shlex.split(v) for k,v in cfg.items() if k.endswith('_requirements')},
    entry_points={'console_scripts': shlex.split(cfg.get('console_scripts', '')), 'nbdev': [f'{lib}={lib}._modidx:d']},
    classifiers=['Intended Audience :: ' + cfg['audience'], 'Programming Language :: Python :: 3'], zip_safe=False)
