"""Other trainers on the work of `overhead.py`, each with few settings and its usual log; imported when called.

Each takes a model, an optimizer, a loader that can be gone over again, the number of passes and a folder for what it writes."""
from torch import nn
from torch.nn import functional as F

EVERY,NEVER = 10,10**9 # iterations from log event to log event; longer than any run

def mmengine(model, optimizer, loader, passes, folder):
    "Its Runner; a line each 10 iterations to console, file and JSON"
    from mmengine.model import BaseModel
    from mmengine.runner import Runner
    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.net = model
        def forward(self, x, y, mode): return dict(loss=F.cross_entropy(self.net(x), y))
    Runner(Model(), folder, loader, train_cfg=dict(by_epoch=True, max_epochs=passes), optim_wrapper=dict(optimizer=optimizer),
           default_hooks=dict(logger=dict(type='LoggerHook', interval=EVERY), sampler_seed=None,
                              checkpoint=dict(type='CheckpointHook', interval=NEVER, save_last=False))).train()

def lightning(model, optimizer, loader, passes, folder):
    "Its Trainer without bar and checkpoints; the loss each 10 iterations to CSV"
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger
    class Module(LightningModule):
        def configure_optimizers(self): return optimizer
        def training_step(self, batch, i):
            loss = F.cross_entropy(model(batch[0]), batch[1])
            self.log('loss', loss)
            return loss
    module = Module()
    module.net = model
    Trainer(accelerator='cpu', max_epochs=passes, log_every_n_steps=EVERY, logger=CSVLogger(folder), enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False).fit(module, loader)

def fastai(model, optimizer, loader, passes, folder):
    "Its Learner with Recorder and progress bar; a line each pass"
    from fastai.callback.progress import ProgressCallback # noqa: F401
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper
    opt = lambda params, lr: OptimWrapper(opt=optimizer)
    Learner(DataLoaders(loader, [], path=folder, device='cpu'), model, F.cross_entropy, opt, lr=.01).fit(passes)

def ignite(model, optimizer, loader, passes, folder):
    "Its Engine; the loss each 10 iterations to the console"
    from ignite.engine import Events, create_supervised_trainer
    trainer = create_supervised_trainer(model, optimizer, F.cross_entropy)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=EVERY), lambda e: print(e.state.epoch, e.state.iteration, e.state.output))
    trainer.run(loader, passes)

def transformers(model, optimizer, loader, passes, folder):
    "Its Trainer without bar, clipping and checkpoints; a line each 10 iterations to the console"
    from transformers import Trainer, TrainingArguments
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model
        def forward(self, x, labels): return dict(loss=F.cross_entropy(self.net(x), labels))
    class Own(Trainer):
        def get_train_dataloader(self): return loader
    args = TrainingArguments(folder, num_train_epochs=passes, logging_steps=EVERY, save_strategy='no', report_to='none', use_cpu=True,
                             disable_tqdm=True, max_grad_norm=0, lr_scheduler_type='constant')
    loader[:] = [dict(x=x, labels=y) for x,y in list.__iter__(loader)]
    Own(Model(), args, optimizers=(optimizer, None)).train()

def skorch(model, optimizer, loader, passes, folder):
    "Its NeuralNet; a line each pass"
    from skorch import NeuralNet
    class Net(NeuralNet):
        def get_iterator(self, dataset, training=False): return loader
        def initialize_optimizer(self, triggered_directly=None): self.optimizer_ = optimizer
    Net(model, criterion=nn.CrossEntropyLoss, train_split=None, max_epochs=passes).fit(loader[0][0].numpy(), loader[0][1].numpy())

PEERS = (mmengine, lightning, fastai, ignite, transformers, skorch)
