"Names for classes: scopes, families, replacement, and what is said about a name that nobody knows."
import pytest
import torch

from interactive_runner import registry as reg
from interactive_runner.registry import OPTIMIZERS, Registry, build_from_cfg, default_scope

def make(name='Part', module='one', **attrs): return type(name, (), dict(__module__=module, **attrs))

def test_the_same_qualified_name_replaces_and_another_of_that_name_is_refused():
    parts,first = Registry('part'),make()
    parts.register_module(module=first)
    again = parts.register_module(module=make())
    assert parts.get('Part') is again is not first
    with pytest.raises(KeyError, match="part 'Part' is registered as one.Part already; two.Part needs another name, a scope, or force=True"):
        parts.register_module(module=make(module='two'))
    assert parts.get('Part') is again
    forced = parts.register_module(force=True, module=make(module='two'))
    assert parts.get('Part') is forced

def test_a_class_of_a_cell_replaces_one_of_a_module_and_stays():
    parts,mine = Registry('part'),make(module='__main__')
    parts.register_module(module=make())
    parts.register_module(module=mine)
    parts.register_module(module=make())
    assert parts.get('Part') is mine

def test_a_name_means_what_its_scope_says():
    parts = Registry('part')
    old,new = parts.register_module(module=make(), scope='mmcv'),parts.register_module(module=make(module='two'), scope='mmengine')
    assert parts.get('mmcv.Part') is old and parts.get('mmengine.Part') is new
    for scope,o in dict(mmcv=old, mmengine=new).items():
        with default_scope(scope): assert parts.get('Part') is o
    with pytest.raises(KeyError, match="could be any of mmcv.Part, mmengine.Part: name one with its scope"): parts.get('Part')
    assert type(parts.build(dict(type='Part', _scope_='mmcv'))) is old

def test_the_scope_of_a_dict_is_that_of_the_dicts_inside_it():
    parts = Registry('part')
    class Outer:
        def __init__(self, inner): self.inner = parts.build(inner)
    parts.register_module(module=Outer)
    old = parts.register_module(module=make(), scope='mmcv')
    parts.register_module(module=make(module='two'), scope='mmengine')
    with default_scope('mmengine'): outer = parts.build(dict(type='Outer', inner=dict(type='Part'), _scope_='mmcv'))
    assert type(outer.inner) is old

def test_a_name_without_a_scope_is_mmengines_and_mmcvs():
    r = Registry('thing')
    class A: pass
    r.register_module(module=A)
    assert r.get('mmengine.A') is r.get('mmcv.A') is A and 'mmdet.A' not in r
    B = type('B', (), {})
    r.register_module(name='A', module=B, scope='mmcv')
    assert (r.get('mmengine.A'), r.get('mmcv.A')) == (A, B)
    assert reg.HOOKS.get('mmengine.IterTimerHook') is reg.HOOKS.get('IterTimerHook')

def test_the_decorator_works_without_parentheses():
    r = Registry('thing')
    @r.register_module
    class A: pass
    assert isinstance(A, type) and r.get('A') is A

def test_a_name_in_one_scope_only_is_found_whatever_the_default():
    parts = Registry('part')
    only = parts.register_module(module=make(), scope='mmdet')
    with default_scope('mmengine'): assert parts.get('Part') is only

def test_registries_of_a_family_see_each_others_names():
    root = Registry('part')
    child,sibling = (Registry('part', parent=root, scope=o) for o in ('mmdet', 'mmseg'))
    here = child.register_module(module=make('Here'))
    general = root.register_module(module=make('General'))
    assert root.get('mmdet.Here') is here and sibling.get('mmdet.Here') is here and child.get('General') is general
    twin = sibling.register_module(module=make('Here', module='two'))
    assert child.get('Here') is here and sibling.get('Here') is twin

def test_modules_are_imported_when_a_name_is_missing_and_only_then(monkeypatch):
    imported = []
    monkeypatch.setattr(reg, 'import_module', lambda nm: imported.append(nm) or parts.register_module(module=make('Far')))
    parts = Registry('part', locations=['far.away'])
    near = parts.register_module(module=make('Near'))
    assert parts.get('Near') is near and not imported
    assert parts.get('Far').__name__ == 'Far' and imported == ['far.away']

def test_a_module_that_cannot_be_imported_is_tried_again():
    parts = Registry('part', locations=['no_such_module_here'])
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError): parts.get('Far')

def test_names_and_aliases_and_paths_lead_to_the_same_class():
    parts = Registry('part')
    o = parts.register_module(name=['A', 'B'], module=make())
    assert parts.get('A') is parts.get('B') is o and 'Part' not in parts and 'A' in parts and len(parts) == 2
    assert parts.get('torch.optim.SGD') is parts.get('torch.optim.sgd:SGD') is torch.optim.SGD

def test_a_path_into_a_module_that_lacks_something_says_what_is_missing(monkeypatch, tmp_path):
    (tmp_path/'needs_more.py').write_text('import something_not_installed\nclass Part: pass')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match='something_not_installed'): Registry('part').get('needs_more.Part')
    with pytest.raises(KeyError, match="there is no part 'nowhere.at.all'"): Registry('part').get('nowhere.at.all')

@pytest.mark.parametrize('wrong,right', [('sgd', 'SGD'), ('Adm', 'Adam'), ('AdamW2', 'AdamW')])
def test_the_nearest_name_is_offered_also_of_other_packages(wrong, right):
    with pytest.raises(KeyError, match=f"there is no optimizer '{wrong}'. Did you mean '{right}'"): OPTIMIZERS.get(wrong)

def test_building_leaves_the_dict_alone_and_gives_defaults_only_to_those_who_take_them():
    class Base:
        def __init__(self, seed=0, deep=None): self.seed,self.deep = seed,deep
    class Takes(Base):
        def __init__(self, size, **kwargs):
            super().__init__(**kwargs)
            self.size = size
    cfg = dict(type=Takes, size=3, deep=dict(a=1))
    made = build_from_cfg(cfg, Registry('part'), default_args=dict(seed=5), colour='red', size=1)
    assert (made.size, made.seed, made.deep) == (3, 5, dict(a=1)) and cfg == dict(type=Takes, size=3, deep=dict(a=1))
    with pytest.raises(TypeError) as e: build_from_cfg(dict(type=Takes, size=3, sead=1), Registry('part'))
    assert "It takes no 'sead'. Did you mean 'seed'? Its arguments: size, seed, deep." in e.value.__notes__[0]

def test_what_a_constructor_raises_keeps_its_type_and_its_traceback():
    class Fails:
        def __init__(self, n): self.n = 1/n
    with pytest.raises(ZeroDivisionError) as e: build_from_cfg(dict(type=Fails, n=0), Registry('part'))
    assert e.value.__notes__ == ['while building part Fails from a dict.'] and e.traceback[-1].name == '__init__'

def test_what_is_no_dict_is_an_object_already_and_a_dict_without_type_is_refused():
    parts,o = Registry('part'),make()()
    assert parts.build(o) is o
    with pytest.raises(KeyError, match="a part is built from a dict with 'type', got one with size"): parts.build(dict(size=3))
    with pytest.raises(TypeError, match='only classes and functions are registered, got 3'): parts.register_module(module=3)
    with pytest.raises(TypeError, match='the name of a part is text, got 3'): parts.get(3)

SEED = 'DATA_SAMPLERS DATASETS EVALUATOR FUNCTIONS HOOKS LOG_PROCESSORS LOOPS RUNNERS STRATEGIES VISUALIZERS'.split()

@pytest.mark.parametrize('name', SEED)
def test_the_registries_that_the_seed_names_are_there_and_can_be_searched(name):
    with pytest.raises(KeyError, match="there is no .* 'NoSuchThing'"): getattr(reg, name).get('NoSuchThing')

KNOWN = dict(HOOKS=['RuntimeInfoHook', 'IterTimerHook', 'DistSamplerSeedHook', 'LoggerHook', 'ParamSchedulerHook', 'CheckpointHook', 'OptimizerHook'],
             LOOPS=['EpochBasedTrainLoop', 'IterBasedTrainLoop', 'ValLoop', 'TestLoop', 'BaseLoop'], STRATEGIES=['SingleDeviceStrategy'],
             DATA_SAMPLERS=['DefaultSampler', 'InfiniteSampler'], FUNCTIONS=['pseudo_collate', 'default_collate', 'worker_init_fn'], EVALUATOR=['Evaluator'],
             METRICS=['DumpResults'], LOG_PROCESSORS=['LogProcessor'], VISUALIZERS=['Visualizer'], VISBACKENDS=['LocalVisBackend'],
             RUNNERS=['Runner', 'FlexibleRunner'], OPTIM_WRAPPER_CONSTRUCTORS=['DefaultOptimWrapperConstructor'],
             OPTIM_WRAPPERS=['OptimWrapper', 'AmpOptimWrapper', 'OptimizerWrapper', 'AmpOptimizerWrapper', 'OptimWrapperDict'],
             PARAM_SCHEDULERS=['MultiStepLR', 'LinearLR', 'CosineAnnealingLR', 'OneCycleLR', 'PolyLR'],
             MODELS=['BaseModel', 'BaseDataPreprocessor', 'ImgDataPreprocessor', 'Linear'], OPTIMIZERS=['SGD', 'AdamW'], DATASETS=['TensorDataset'])

@pytest.mark.parametrize('name,part', [(k, o) for k,v in KNOWN.items() for o in v])
def test_the_parts_of_this_library_are_found_by_name(name, part): assert callable(getattr(reg, name).get(part))
