"Configs: what comes back from each text, what is inherited, and what is refused in which words."
import copy, fractions, json, math, pickle, string, sys, traceback
from functools import partial
import pytest
from hypothesis import example, given, settings, strategies as st
from interactive_runner.config import Config, ConfigDict, DictAction, import_modules, merge

class Outer:
    class Inner: pass
    def method(self): pass
    @classmethod
    def make(cls): pass

class Inner: "A name that `Outer.Inner` has too"

class base_: "Its alias would be `_base_`"

def same(a, b):
    "Equal, with equal types, order of keys, signs of zero, and nan equal to itself"
    if isinstance(a, dict): return isinstance(b, dict) and len(a) == len(b) and all(same(i, j) for i,j in zip(a.items(), b.items()))
    if type(a) is not type(b): return False
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float): return repr(a) == repr(b)
    if isinstance(a, set): return sorted(map(repr, a)) == sorted(map(repr, b))
    return a == b

taken = {'filename', 'text', 'pretty_text', 'env_variables', '_cfg_dict', '_base_', 'custom_imports'}
tricky = st.sampled_from(['class', 'dict', 'set', 'float', 'None', '__debug__', 'print', 'ﬁ', '学习率', '_x', '_config_', '_delete_', 'a.b', '', '_var0v',
    'it\'s "so"', 'a\nb', '\\', '😀', '\ud800', '\x85', '\u2028', '\u2029', '\ufeff', '\0', '\r', ' a ', '\t',
    '{{ fileDirname }}', '{{{ $A }}', '{{$A:', '}}', '{{_base_.x}}', '{{ user }}',
    '# no', '<<', '=', '0x1', '1e5', '1:30', 'yes', 'null', '~', '- a', '!x', '&a', '*a', '? a'])
strs = st.one_of(st.text(max_size=8), st.text(string.ascii_lowercase, min_size=1, max_size=4), tricky)
things = st.sampled_from([fractions.Fraction, Outer, Outer.Inner, Inner, base_, Outer.make, len, dict, json.dumps])
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), strs)
keys = st.one_of(strs, st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=4))

def nested(leaves, keys, tuples=True, sets=True):
    extra = lambda o: [st.lists(o, max_size=3).map(tuple)]*tuples + [st.sets(keys, max_size=3)]*sets
    return st.recursive(leaves, lambda o: st.one_of(st.lists(o, max_size=3), st.dictionaries(keys, o, max_size=3), *extra(o)), max_leaves=10)

def configs(values, keys=strs): return st.dictionaries(keys.filter(lambda k: k not in taken), values, max_size=4).map(Config)

anything = configs(nested(leaves | st.binary(max_size=4) | things, keys | st.tuples(keys, things)), keys | things)

# Texts

@settings(deadline=None, max_examples=60)
@given(anything)
@example(Config({'fileDirname': ['{{ $A:', '}}'], 'b': b'{{ fileDirname }}'}))
@example(Config({'dict': dict(a=1), 'b': dict(c=2)}))
@example(Config({'act': fractions.Fraction}))
@example(Config({'act': {('i', fractions.Fraction), (None, base_), (Inner,), (Outer,)}}))
def test_python_text_reads_back_to_the_same_config(cfg):
    text = cfg.pretty_text
    back = Config.fromstring(text, '.py')
    assert same(cfg.to_dict(), back.to_dict()) and back.pretty_text == text == cfg.dump()

@settings(deadline=None, max_examples=60)
@given(configs(nested(leaves | st.binary(max_size=4), keys, tuples=False)), st.sampled_from(['a.yaml', 'a.yml']))
def test_yaml_reads_back_to_the_same_config_or_is_refused(tmp_path_factory, cfg, name):
    p = tmp_path_factory.mktemp('yaml')/name
    try: cfg.dump(p)
    except TypeError as e:
        assert '{{' in str(e) and 'yaml cannot hold' in str(e) and not p.exists()
        return
    assert same(cfg.to_dict(), Config.fromfile(p).to_dict())

@settings(deadline=None, max_examples=60)
@given(configs(nested(leaves.filter(lambda o: not isinstance(o, float) or math.isfinite(o)), strs, tuples=False, sets=False)))
def test_json_reads_back_to_the_same_config(tmp_path_factory, cfg):
    p = tmp_path_factory.mktemp('json')/'a.json'
    cfg.dump(p)
    assert same(cfg.to_dict(), Config.fromfile(p).to_dict())

@settings(deadline=None, max_examples=60)
@given(anything)
def test_a_dumped_python_file_reads_back_and_knows_its_origin(tmp_path_factory, cfg):
    p = tmp_path_factory.mktemp('py')/'a.py'
    cfg.dump(str(p))
    back = Config.fromfile(p)
    assert same(cfg.to_dict(), back.to_dict())
    assert back.filename == str(p) and back.text == p.read_text(encoding='utf-8')

@settings(deadline=None, max_examples=60)
@given(anything)
def test_copies_and_pickles_are_equal_and_independent(cfg):
    for other in (copy.deepcopy(cfg), copy.copy(cfg), cfg.copy(), pickle.loads(pickle.dumps(cfg)), Config(cfg)):
        assert same(other.to_dict(), cfg.to_dict()) and type(other) is Config
        other['another key'] = 1
        assert 'another key' not in cfg

def test_long_values_go_over_several_lines_and_short_ones_do_not():
    cfg = Config(dict(a=dict(type='SGD', lr=.1), b=[dict(type='x'*60), ('y'*60,)], c={1: 'z'*99}))
    assert cfg.pretty_text == f"""a = dict(type='SGD', lr=0.1)
b = [
    dict(type='{'x'*60}'),
    ('{'y'*60}',),
]
c = {{
    1: '{'z'*99}',
}}
"""
    one = Config(dict(a=('z'*99,)))
    assert one.pretty_text == f"a = (\n    '{'z'*99}',\n)\n" and Config.fromstring(one.pretty_text, '.py') == one

def test_sets_are_written_in_one_order(): assert Config(dict(a={'c', 'b', 'a'}, b=set())).pretty_text == "a = {'a', 'b', 'c'}\nb = set()\n"

def test_classes_of_one_name_are_imported_under_two():
    text = Config(dict(a=[Inner, Outer.Inner, base_], b=[Inner])).pretty_text
    assert text == ('from test_config import Inner as _Inner\nfrom test_config import Outer as _Outer\nfrom test_config import base_ as _base__\n\n'
                    'a = [_Inner, _Outer.Inner, _base__]\nb = [_Inner]\n')
    assert Config(dict(a=[Inner, type('Inner', (), dict(__module__='fractions'))])).pretty_text.count('import') == 1

def test_two_modules_with_one_name(monkeypatch):
    monkeypatch.setattr(fractions, 'Inner', type('Inner', (), dict(__module__='fractions')), raising=False)
    cfg = Config(dict(a=[Inner, fractions.Inner]))
    assert 'a = [_Inner, _Inner_]' in cfg.pretty_text and Config.fromstring(cfg.pretty_text, '.py') == cfg

def test_numbers_and_dtypes_of_other_packages():
    np,torch = pytest.importorskip('numpy'),pytest.importorskip('torch')
    cfg = Config(dict(lr=np.float64(.1), dtype=torch.float16, act=torch.nn.ReLU, f=torch.nn.functional.relu))
    back = Config.fromstring(cfg.pretty_text, '.py')
    assert back == cfg and type(back.lr) is float and back.dtype is torch.float16 and back.act is torch.nn.ReLU

local = lambda x: x
unwritable = [(local, 'is <function <lambda>'), (object(), 'is <object object'), (Outer().method, 'is <bound method'), (json, 'is <module'),
              (partial(len), 'functools.partial'),
              (type('Local', (), {}), 'Local'), (list[int], 'list[int]')]

@pytest.mark.parametrize('o, words', unwritable)
def test_what_has_no_name_fails_in_dump_and_is_shown_in_a_log(tmp_path, o, words):
    cfg = Config(dict(model=dict(layers=[1, dict(act=o)])))
    with pytest.raises(TypeError) as e: cfg.dump(tmp_path/'a.py')
    assert str(e.value).startswith('model.layers.1.act is ') and words in str(e.value)
    assert not any(tmp_path.iterdir())
    assert repr(o)[:40] in cfg.pretty_text

def test_a_value_whose_text_fails_does_not_break_the_log():
    class Bad:
        def __repr__(self): raise RuntimeError('no')
    class Long:
        def __repr__(self): return 'x\n'*999
    assert 'Bad, which has no text' in Config(dict(a=Bad())).pretty_text
    assert Config(dict(a=Long())).pretty_text == 'a = ' + 'x '*49 + 'x…\n'
    assert "_config_ = {'a b': <function <lambda>" in Config({'a b': local}).pretty_text

@pytest.mark.parametrize('cfg, name, words', [
    (dict(a=dict(b=(1, 2))), 'a.yaml', r'a.b is \(1, 2\) \(tuple\), which yaml cannot hold'),
    (dict(a=[dict(b=len)]), 'a.yml', r'a.0.b is <built-in function len>'),
    ({'a': {(1, 2): 3}}, 'a.yaml', r'a has the key \(1, 2\) \(tuple\)'),
    (dict(a='{{ fileDirname }}'), 'a.yaml', "a is '{{ fileDirname }}' .str., which yaml"),
    (dict(a=(1, 2)), 'a.json', r'a is \(1, 2\) \(tuple\), which json'),
    (dict(a=[math.nan]), 'a.json', r'a.0 is nan \(float\)'),
    (dict(a=b'x'), 'a.json', r'a is b.x. \(bytes\)'),
    (dict(a={1}), 'a.json', r'a is \{1\} \(set\)'),
    ({1: 2}, 'a.json', r'the config has the key 1 \(int\)')])
def test_formats_refuse_what_they_cannot_hold(tmp_path, cfg, name, words):
    with pytest.raises(TypeError, match=words): Config(cfg).dump(tmp_path/name)
    assert not any(tmp_path.iterdir())

def test_unknown_formats_name_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown config format '.jsn' of .*a.jsn, there are: .py, .yaml, .yml, .json. Did you mean '.json'\?"):
        Config.fromfile(tmp_path/'a.jsn')
    with pytest.raises(ValueError, match="unknown config format '.toml' of .*a.toml, there are"): Config().dump(tmp_path/'a.toml')
    with pytest.raises(ValueError, match='Did you mean'): Config.fromstring('', 'yaml')

@pytest.mark.parametrize('fmt', ['.py', '.yaml', '.yml', '.json'])
def test_an_empty_config_is_false_and_comes_back(tmp_path, fmt):
    Config().dump(tmp_path/f'a{fmt}')
    assert not Config.fromfile(tmp_path/f'a{fmt}') and Config() == {} and Config(None).text == ''

# Dicts

letters = st.sampled_from('abc')
deep = lambda o: st.dictionaries(letters, o, max_size=3) | st.lists(o, max_size=2)
dicts = st.dictionaries(letters, st.recursive(st.integers(), deep, max_leaves=6), max_size=3)

@settings(deadline=None, max_examples=60)
@given(dicts)
def test_a_configdict_equals_its_dict_and_shares_nothing_with_it(d):
    cfg,old = ConfigDict(d),copy.deepcopy(d)
    assert cfg == d and isinstance(cfg, dict) and same(cfg.to_dict(), d)
    def spoil(o):
        if isinstance(o, list): o.append('new')
        for v in o.values() if isinstance(o, dict) else o if isinstance(o, list) else (): spoil(v)
        if isinstance(o, dict): o['new'] = 1
    spoil(cfg)
    assert d == old

@settings(deadline=None, max_examples=60)
@given(dicts)
def test_merging_nothing_changes_nothing(d): assert merge(d, {}) == d == merge({}, d) == merge(d, d)

@settings(deadline=None, max_examples=60)
@given(dicts, dicts)
def test_merging_mutates_neither_and_the_result_is_nobodys(a, b):
    old = copy.deepcopy((a, b))
    try: new = merge(a, b)
    except TypeError as e:
        assert '_delete_=True' in str(e)
        return
    finally: assert (a, b) == old
    assert merge(new, b) == new and new.keys() == a.keys() | b.keys()
    assert merge(a, dict(b, _delete_=True)) == b

@settings(deadline=None, max_examples=60)
@given(dicts, dicts)
def test_update_is_a_merge_in_place(a, b):
    try: want = merge(a, b)
    except TypeError: return
    cfg = ConfigDict(a)
    cfg.update(b)
    assert cfg == want == ConfigDict(a) | b == a | ConfigDict(b)

def test_methods_that_store_make_attributes():
    cfg = ConfigDict(a=dict(b=1), l=(dict(c=2),))
    assert cfg.a.b == 1 and cfg.l[0].c == 2
    assert cfg.setdefault('d', dict(e=3)).e == 3 and cfg.setdefault('d', 4).e == 3
    cfg |= dict(a=dict(f=5))
    assert cfg.a == dict(b=1, f=5)
    cfg['a'] = dict(g=6)
    assert cfg.a == dict(g=6) and cfg.pop('a').g == 6 and cfg.pop('a', None) is None and cfg.get('zz') is None
    assert type(cfg | {}) is ConfigDict and type({} | cfg) is ConfigDict and ConfigDict.fromkeys('a', dict(b=1)).a.b == 1
    shallow = cfg.copy()
    assert type(shallow) is ConfigDict and shallow.d is cfg.d and copy.copy(cfg).d is cfg.d and copy.deepcopy(cfg).d is not cfg.d

@pytest.mark.parametrize('kind', [ConfigDict, Config])
def test_attributes_come_go_and_are_named_when_missing(kind):
    cfg = kind(dict(optimizer=1, lr=2))
    cfg.epochs = 3
    del cfg.lr
    assert cfg == dict(optimizer=1, epochs=3) and {'optimizer', 'epochs'} <= {*dir(cfg)} and not hasattr(cfg, 'lr')
    with pytest.raises(AttributeError, match=r"no key 'optimiser' here; there are: optimizer, epochs. Did you mean 'optimizer'\?"): print(cfg.optimiser)
    with pytest.raises(AttributeError, match="no key 'epoch' here"): del cfg.epoch
    with pytest.raises(AttributeError, match="set the item .'items'."): cfg.items = 1
    cfg['items'] = 1
    assert ('items', 1) in cfg.items()
    del cfg['items']
    assert 'items' not in cfg and len(cfg) == 2

def test_a_namedtuple_and_an_object_are_taken_as_they_are():
    from collections import namedtuple
    o,p = object(),namedtuple('P', 'x y')(dict(a=1), 2)
    cfg = ConfigDict(o=o, p=p)
    assert cfg.o is o and cfg.p is p

# Merging

@pytest.mark.parametrize('base, child, want', [
    (dict(a=[1, 2]), dict(a=[3]), dict(a=[3])),
    (dict(a=dict(b=1)), dict(a=2), dict(a=2)),
    (dict(a=None), dict(a=dict(b=1)), dict(a=dict(b=1))),
    (dict(a=dict(b=1, c=2)), dict(a=dict(_delete_=True, d=3)), dict(a=dict(d=3))),
    (dict(a=dict(b=1)), dict(a=dict(_delete_=False, d=3)), dict(a=dict(b=1, d=3))),
    (dict(a=5), dict(a=dict(_delete_=True, d=3)), dict(a=dict(d=3))),
    (dict(a=1), dict(_delete_=True, d=3), dict(d=3)),
    ({}, dict(a=dict(b=dict(_delete_=True, c=1))), dict(a=dict(b=dict(c=1))))])
def test_merging(base, child, want): assert same(merge(base, child), ConfigDict(want))

def test_a_dict_cannot_be_merged_into_a_value():
    with pytest.raises(TypeError, match=r'a.b is of type float in the base and a dict in the change.*_delete_=True'):
        merge(dict(a=dict(b=.1)), dict(a=dict(b=dict(c=1))))
    with pytest.raises(TypeError, match='a is of type list'): merge(dict(a=[1]), dict(a={'0': 2}))

@pytest.mark.parametrize('options, want', [
    ({'model.head.lr': .1},                             dict(model=dict(head=dict(type='A', lr=.1)), pipeline=[dict(type='B'), (1, 2)])),
    ({'pipeline.0.type': 'X'},                          dict(model=dict(head=dict(type='A', lr=1)), pipeline=[dict(type='X'), (1, 2)])),
    ({'pipeline.-1.1': 5, 'new.key': 6},                dict(model=dict(head=dict(type='A', lr=1)), pipeline=[dict(type='B'), (1, 5)], new=dict(key=6))),
    ({'pipeline': [7], 'pipeline.0': 8},                dict(model=dict(head=dict(type='A', lr=1)), pipeline=[8])),
    ({'model': dict(_delete_=True), 'model.a': 2},      dict(model=dict(a=2), pipeline=[dict(type='B'), (1, 2)])),
    ({'model': {'a.b': 2}, 'pipeline.1': None},         dict(model={'head': dict(type='A', lr=1), 'a.b': 2}, pipeline=[dict(type='B'), None]))])
def test_dotted_overrides(options, want):
    cfg,given = Config(dict(model=dict(head=dict(type='A', lr=1)), pipeline=[dict(type='B'), (1, 2)])),copy.deepcopy(options)
    cfg.merge_from_dict(options)
    assert same(cfg.to_dict(), want) and options == given

@pytest.mark.parametrize('path, error, words', [
    ('pipeline.2.type', KeyError, "pipeline is a list of 2: '2' is no index of it"),
    ('pipeline.first', KeyError, "pipeline is a list of 2: 'first' is no index of it"),
    ('lr.x', TypeError, 'lr is of type int in the base'),
    ('pipeline.1.x', TypeError, 'pipeline.1 is of type int in the base'),
    ('text', KeyError, 'text cannot be a key')])
def test_overrides_that_fit_nowhere_change_nothing(path, error, words):
    cfg = Config(dict(pipeline=[dict(type='A'), 2], lr=1))
    old = copy.deepcopy(cfg)
    with pytest.raises(error, match=words): cfg.merge_from_dict({'lr': 5, path: 1})
    assert cfg == old
    with pytest.raises(TypeError, match='pipeline is of type list'): cfg.merge_from_dict({'pipeline.0.type': 'B'}, allow_list_keys=False)

# Files

def write(folder, **texts):
    "`a_py='x = 1'` is the file a.py"
    for k,txt in texts.items(): (folder/k.replace('_', '.')).write_text(txt, encoding='utf-8')
    return folder

def test_a_chain_of_three_formats(tmp_path):
    (tmp_path/'sub').mkdir()
    write(tmp_path, a_json='{"model": {"type": "A", "w": 1}, "lr": 0.1}', b_yaml='_base_: a.json\nmodel: {w: 2}\nepochs: 3')
    (tmp_path/'sub/c.py').write_text("_base_ = ['../b.yaml']\nmodel = dict(act='relu')\nlr = dict(_delete_=True, start=1)")
    assert same(Config.fromfile(tmp_path/'sub/c.py').to_dict(), dict(model=dict(type='A', w=2, act='relu'), lr=dict(start=1), epochs=3))

def test_helpers_are_no_part_of_the_config(tmp_path):
    write(tmp_path, a_py="import os\nfrom math import sqrt\nfrom fractions import Fraction\ndef f(x): return 2*x\nclass C: pass\n_w = 4\n"
                         "width = f(_w)\nmodel = dict(type=Fraction, f=sqrt)\nhere = __file__", b_py="_base_ = 'a.py'\nlr = 1")
    cfg = Config.fromfile(tmp_path/'b.py')
    assert cfg == dict(width=8, model=dict(type=fractions.Fraction, f=math.sqrt), here=str(tmp_path/'a.py'), lr=1)

def test_a_top_level_delete_drops_what_is_inherited(tmp_path):
    write(tmp_path, a_py='x = 1', b_py="_base_ = 'a.py'\n_delete_ = True\ny = 2")
    assert Config.fromfile(tmp_path/'b.py') == dict(y=2)

def test_two_bases_join_and_must_not_overlap(tmp_path):
    write(tmp_path, a_py='x = 1', b_py='y = 2', c_py='z = 3\nx = 4', ab_py="_base_ = ['a.py', 'b.py']", abc_yaml='_base_: [a.py, b.py, c.py]')
    assert Config.fromfile(tmp_path/'ab.py') == dict(x=1, y=2)
    with pytest.raises(KeyError) as e: Config.fromfile(tmp_path/'abc.yaml')
    assert f"'x' is defined in {tmp_path/'a.py'} and in {tmp_path/'c.py'}: inherit each key from one file only" in str(e.value)

def test_a_base_in_a_package(tmp_path, monkeypatch):
    (tmp_path/'my_zoo/configs').mkdir(parents=True)
    (tmp_path/'my_zoo/__init__.py').write_text('raise RuntimeError("not to be run")')
    (tmp_path/'my_zoo/configs/a.py').write_text('x = 1')
    monkeypatch.syspath_prepend(tmp_path)
    assert Config.fromstring("_base_ = 'my_zoo::configs/a.py'", '.py').x == 1
    with pytest.raises(ModuleNotFoundError, match="needs the package 'no_zoo', which is not installed"): Config.fromstring("_base_ = 'no_zoo::a.py'", '.py')

def test_circles_are_shown_whole(tmp_path):
    write(tmp_path, a_py="_base_ = 'b.yaml'", b_yaml='_base_: c.json', c_json='{"_base_": "b.yaml"}', d_py="_base_ = 'd.py'")
    with pytest.raises(ValueError) as e: Config.fromfile(tmp_path/'a.py')
    b,c = tmp_path/'b.yaml',tmp_path/'c.json'
    assert str(e.value) == f'a config cannot inherit from itself: {b} -> {c} -> {b}'
    with pytest.raises(ValueError, match='cannot inherit from itself'): Config.fromfile(tmp_path/'d.py')

def test_missing_files_name_the_nearest_and_who_wants_them(tmp_path):
    write(tmp_path, base_py='x = 1', b_py="_base_ = 'bas.py'")
    with pytest.raises(FileNotFoundError) as e: Config.fromfile(tmp_path/'b.py')
    assert str(e.value) == f"there is no config {tmp_path/'bas.py'}, which {tmp_path/'b.py'} inherits. Did you mean 'base.py'?"
    with pytest.raises(FileNotFoundError, match='there is no config .*none.py.$'): Config.fromfile(tmp_path/'nowhere/none.py')

@pytest.mark.parametrize('base, error, words', [
    ('[f()]', ValueError, 'line 2: _base_ is read before the file runs'),
    ('3', TypeError, 'a list of strings, not 3'), ('dict(a=1)', ValueError, 'line 2'),
    ('[3]', TypeError, '_base_ must be a string or a list of strings, not 3')])
def test_base_must_be_plain_strings(tmp_path, base, error, words):
    write(tmp_path, a_py=f'\n_base_ = {base}')
    with pytest.raises(error, match=words): Config.fromfile(tmp_path/'a.py')

def test_errors_of_a_python_config_point_to_its_line(tmp_path):
    write(tmp_path, a_py="name = '{{ fileDirname }}'\ny = 1/0", b_py='x = 1\ny = = 2', c_py="_base_ = 'a.py'")
    for name in 'ac':
        with pytest.raises(ZeroDivisionError) as e: Config.fromfile(tmp_path/f'{name}.py')
        last = traceback.extract_tb(e.value.__traceback__)[-1]
        assert (last.filename, last.lineno, last.line) == (str(tmp_path/'a.py'), 2, 'y = 1/0')
    with pytest.raises(SyntaxError) as e: Config.fromfile(tmp_path/'b.py')
    assert (e.value.filename, e.value.lineno) == (str(tmp_path/'b.py'), 2)

def test_errors_of_data_name_the_file(tmp_path):
    write(tmp_path, a_yaml='a: [1', b_json='{"a": }', c_yaml='- 1')
    for name in ('a.yaml', 'b.json'):
        with pytest.raises(Exception) as e: Config.fromfile(tmp_path/name)
        assert e.value.__notes__ == [f'while reading {tmp_path/name}']
    with pytest.raises(TypeError, match='c.yaml holds a list; a config is a mapping'): Config.fromfile(tmp_path/'c.yaml')

def test_yaml_is_read_safely():
    with pytest.raises(Exception, match='could not determine a constructor'): Config.fromstring('a: !!python/object/apply:os.getcwd []', '.yaml')

# Variables

def test_file_variables_in_each_format(tmp_path):
    folder = tmp_path/"it's \\ \"odd\""
    folder.mkdir()
    want = dict(a=f'{folder}/data', b='c.f', c='.{}', d='see c.f.{}')
    py = "a = '{{ fileDirname }}/data'\nb = {{fileBasenameNoExtension}}\nc = '{{ fileExtname}}'\nd = f'see {{fileBasename }}'"
    yml = "a: '{{ fileDirname }}/data'\nb: {{fileBasenameNoExtension}}\nc: \"{{ fileExtname}}\"\nd: see {{fileBasename }}"
    js = '{"a": "{{ fileDirname }}/data", "b": {{fileBasenameNoExtension}}, "c": "{{ fileExtname}}", "d": "see {{fileBasename }}"}'
    for fmt,txt in dict(py=py, yaml=yml, json=js).items():
        (folder/f'c.f.{fmt}').write_text(txt)
        assert Config.fromfile(folder/f'c.f.{fmt}') == {k: v if k == 'a' else v.format(fmt) for k,v in want.items()}

@pytest.mark.parametrize('fmt, text', [
    ('.py', "a = {{ $CFG_N:1 }}\nb = '{{ $CFG_N:1 }}'\nc = [{{$CFG_L:[1, 'x']}}, 'n={{ $CFG_N: 1 }}']\nd = b'{{$CFG_N:1}}'.decode()"),
    ('.yaml', "a: {{ $CFG_N:1 }}\nb: '{{ $CFG_N:1 }}'\nc: [{{$CFG_L:[1, 'x']}}, \"n={{ $CFG_N: 1 }}\"]\nd: '{{$CFG_N:1}}'"),
    ('.json', '{"a": {{ $CFG_N:1 }}, "b": "{{ $CFG_N:1 }}",\n"c": [{{$CFG_L:[1, "x"]}}, "n={{ $CFG_N: 1 }}"], "d": "{{$CFG_N:1}}"}')])
def test_environment_variables_are_values_without_quotes_and_text_within(monkeypatch, fmt, text):
    cfg = Config.fromstring(text, fmt)
    assert same(cfg.to_dict(), dict(a=1, b='1', c=[[1, 'x'], 'n=1'], d='1')) and cfg.env_variables == {}
    monkeypatch.setenv('CFG_N', '0.5')
    cfg = Config.fromstring(text, fmt)
    assert same(cfg.to_dict(), dict(a=.5, b='0.5', c=[[1, 'x'], 'n=0.5'], d='0.5')) and cfg.env_variables == dict(CFG_N='0.5')

def test_each_mention_of_a_variable_has_its_own_default(): assert Config.fromstring('a = {{$CFG_N:1}}\nb = {{$CFG_N:2}}', '.py') == dict(a=1, b=2)

def test_what_the_environment_gave_to_a_base_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv('CFG_N', '3')
    write(tmp_path, a_py='x = {{$CFG_N:1}}', b_py="_base_ = 'a.py'")
    cfg = Config.fromfile(tmp_path/'b.py')
    assert cfg.x == 3 and cfg.env_variables == dict(CFG_N='3')

@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(codec='utf-8', exclude_characters='\0'), min_size=1))
def test_any_text_of_the_environment_arrives_in_a_string(s):
    with pytest.MonkeyPatch.context() as m:
        m.setenv('CFG_S', s)
        texts = {'.py': "a = '<{{ $CFG_S }}>'", '.yaml': 'a: "<{{ $CFG_S }}>"', '.json': '{"a": "<{{ $CFG_S }}>"}'}
        for fmt,txt in texts.items(): assert Config.fromstring(txt, fmt).a == f'<{s}>'

@pytest.mark.parametrize('text', ['a = {{ $CFG_NONE }}', "a = '{{ $CFG_NONE: }}'", "a = f'{{$CFG_NONE}}'"])
def test_an_environment_variable_without_value_is_said(text):
    with pytest.raises(KeyError, match="the environment variable 'CFG_NONE' is not set, and .* gives no default. Set it, or write {{ .CFG_NONE:default }}"):
        Config.fromstring(text, '.py')

def test_a_variable_that_is_set_but_empty_has_a_value(monkeypatch):
    monkeypatch.setenv('CFG_NONE', '')
    assert Config.fromstring("a = '{{ $CFG_NONE }}'", '.py').a == ''

def test_a_variable_in_a_comment_asks_for_nothing():
    assert Config.fromstring("a = 1 # {{ $CFG_NONE }}", '.py') == dict(a=1) == Config.fromstring("a: 1 # {{ $CFG_NONE }}", '.yaml')

@pytest.mark.parametrize('fmt, text', [('.py', 'a = {{$CFG_W:two words}}'), ('.json', '{"a": {{$CFG_W:two words}}}'), ('.yaml', 'a: {{$CFG_W:[1}}')])
def test_text_that_is_no_value_wants_quotes(fmt, text):
    with pytest.raises(ValueError, match='which is no value in this format. Put quotes around the variable'): Config.fromstring(text, fmt)

def test_inherited_values(tmp_path):
    write(tmp_path, a_py="model = dict(w=[8, 16], name='net')",
        c_py="_base_ = 'a.py'\nw = {{_base_.model.w}}\nw.append(32)\nlast = {{ _base_.model.w.1 }}\ns = '{{_base_.model.w.0}} in {{ _base_.model.name}}'",
        d_yaml="_base_: a.py\nw: {{_base_.model.w}}\nt: '{{_base_.model.w}}'", e_json='{"_base_": "a.py", "m": {{_base_.model}}}',
        f_py="_base_ = '{{ $CFG_B:a }}.py'", g_yaml='_base_: "{{ fileDirname }}/a.py"')
    assert Config.fromfile(tmp_path/'c.py') == dict(model=dict(w=[8, 16], name='net'), w=[8, 16, 32], last=16, s='8 in net')
    assert Config.fromfile(tmp_path/'d.yaml') == dict(model=dict(w=[8, 16], name='net'), w=[8, 16], t='[8, 16]')
    assert Config.fromfile(tmp_path/'e.json').m.w == [8, 16]
    for name in ('f.py', 'g.yaml'): assert Config.fromfile(tmp_path/name).model.name == 'net'

@pytest.mark.parametrize('path, words', [
    ('model.widht', r"asks the inherited config for 'widht', there are: width. Did you mean 'width'\?"),
    ('model.width.x', "for 'x', there are: nothing"), ('nodel', "Did you mean 'model'")])
def test_an_inherited_value_that_is_not_there(tmp_path, path, words):
    write(tmp_path, a_py='model = dict(width=8)', b_py=f"_base_ = 'a.py'\nw = {{{{_base_.{path}}}}}")
    with pytest.raises(KeyError, match=words): Config.fromfile(tmp_path/'b.py')

def test_unknown_file_variables_name_the_nearest():
    with pytest.raises(KeyError, match=r"unknown variable {{ fileDirName }}, there are: fileDirname, .*Did you mean 'fileDirname'\?"):
        Config.fromstring("a = '{{ fileDirName }}'", '.py')

def test_file_variables_need_a_file():
    with pytest.raises(KeyError, match='needs a file, and this config was read from a string'): Config.fromstring("a = '{{ fileDirname }}'", '.py')

def test_other_double_braces_are_left_alone(): assert Config.fromstring("a = '{{ user }}: {{message}}'", '.py').a == '{{ user }}: {{message}}'

def test_variables_can_be_left_as_they_are(tmp_path):
    write(tmp_path, a_py="a = '{{ fileBasename }}'\nb = '{{ $CFG_N:1 }}'")
    assert Config.fromfile(tmp_path/'a.py', use_predefined_variables=False) == dict(a='{{ fileBasename }}', b='1')
    assert Config.fromfile(tmp_path/'a.py', use_environment_variables=False) == dict(a='a.py', b='{{ $CFG_N:1 }}')

def test_a_text_that_uses_the_stand_in_itself():
    assert Config.fromstring("_var = 3\na = '_var0v {{ $CFG_N:1 }}'\nb = {{ $CFG_N:1 }}", '.py') == dict(a='_var0v 1', b=1)

# The rest

def test_custom_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, cfgplugin_py='x = 1', a_py="custom_imports = dict(imports=['cfgplugin'], allow_failed_imports=False)",
        b_py="custom_imports = dict(imports='cfgnone')")
    Config.fromfile(tmp_path/'a.py', import_custom_modules=False)
    assert 'cfgplugin' not in sys.modules
    Config.fromfile(tmp_path/'a.py')
    assert sys.modules.pop('cfgplugin').x == 1
    with pytest.raises(ImportError) as e: Config.fromfile(tmp_path/'b.py')
    assert e.value.__notes__ == ["'cfgnone' is named in custom_imports"]
    with pytest.warns(UserWarning, match="'cfgnone' could not be imported"): import_modules(['cfgnone'], allow_failed_imports=True)

@pytest.mark.parametrize('k', ['filename', 'text', 'pretty_text', 'env_variables', '_cfg_dict', '_base_'])
def test_names_of_a_config_are_no_keys(k):
    with pytest.raises(KeyError, match=f'{k} cannot be a key'): Config({k: 1})
    cfg = Config()
    with pytest.raises(KeyError, match=f'{k} cannot be a key'): cfg[k] = 1
    with pytest.raises(AttributeError, match='belongs to the Config itself'): setattr(cfg, k, 1)

def test_a_config_is_made_of_a_dict():
    with pytest.raises(TypeError, match=r"not of 'a.py'; a file is read by Config.fromfile"): Config('a.py')
    d = dict(a=dict(b=1))
    cfg = Config(d, filename='a.py')
    cfg.a.b = 2
    assert d == dict(a=dict(b=1)) and cfg.filename == 'a.py' and repr(cfg) == "Config({'a': {'b': 2}}, filename='a.py')"
    assert cfg == Config(cfg) == dict(a=dict(b=2)) and cfg != Config() and cfg._cfg_dict.a.b == 2 and isinstance(cfg._cfg_dict, dict) and dict(**cfg) == cfg

def test_differences(tmp_path):
    Config(dict(a=1, b=2)).dump(tmp_path/'a.py')
    lines = Config.diff(tmp_path/'a.py', Config(dict(a=1, b=3))).splitlines()
    assert lines == [f"--- {tmp_path/'a.py'}", '+++ b', '@@ -1,2 +1,2 @@', ' a = 1', '-b = 2', '+b = 3']
    assert Config.diff(Config(dict(a=1)), Config(dict(a=1))) == ''

@pytest.mark.parametrize('text, want', [('1', 1), ('1e-3', 1e-3), ('-2', -2), ('relu', 'relu'), ('true', True), ('False', False), ('none', None),
    ('[1, "a"]', [1, 'a']), ('(1,2)', (1, 2)), ('1,2', [1, 2]),
    ('a,b,1', ['a', 'b', 1]), ("'1'", '1'), ('', ''), ('a=b', 'a=b'), ('./x.pth', './x.pth'), ('{"a": 1}', dict(a=1)), ('007', '007')])
def test_options_of_a_command_line(text, want):
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument('-o', nargs='+', action=DictAction)
    assert same(parser.parse_args(['-o', f'a.b={text}', '-o', 'c=1']).o, {'a.b': want, 'c': 1})

def test_an_option_without_a_value_is_refused(capsys):
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument('-o', nargs='+', action=DictAction)
    with pytest.raises(SystemExit): parser.parse_args(['-o', 'lr'])
    assert "-o takes key=value, got 'lr'" in capsys.readouterr().err
