"Write README.md from nbs/index.ipynb: `nbdev_readme` without Quarto."
import posixpath, re
from execnb.nbio import read_nb
from nbdev.config import get_config

_fixed = re.compile(r'[a-z][a-z0-9+.-]*:|[#/]', re.I)
_links = re.compile(r'(?P<code>^```.*?^```|`[^`\n]+`)|(?P<pre>\]\(|\b(?:src|href)=")(?P<url>[^)\s"]+)', re.M | re.S)

def moved(md, folder):
    "Markdown `md` of a page in `folder` with its relative links and images as the root of the repository sees them"
    def f(m):
        if m['code'] or _fixed.match(m['url']): return m[0]
        return m['pre'] + posixpath.normpath(posixpath.join(folder, m['url']))
    return _links.sub(f, md)

def outputs(cell):
    for o in cell.outputs:
        txt = o.get('text') or o.get('data', {}).get('text/plain')
        if txt: yield '```text\n' + ''.join(txt).rstrip() + '\n```'

def blocks(nb, folder):
    for c in nb.cells:
        if c.cell_type == 'markdown': yield moved(c.source, folder)
        elif c.cell_type == 'code' and not c.source.startswith('#| hide'):
            src = re.sub(r'^#\|.*\n?', '', c.source, flags=re.M).strip()
            if src: yield f'```python\n{src}\n```'
            yield from outputs(c)

if __name__ == '__main__':
    cfg = get_config()
    folder = cfg.nbs_path.relative_to(cfg.config_path).as_posix()
    md = '\n\n'.join(blocks(read_nb(cfg.nbs_path/cfg.readme_nb), folder)) + '\n'
    (cfg.config_path/'README.md').write_text(md, encoding='utf-8')
