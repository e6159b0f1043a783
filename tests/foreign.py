"Hooks in the style of projects built on MMEngine and on MMCV. They neither import nor know this library; each leaves a trace that tests look at."
import copy

import torch

# MMEngine's dialect: methods take the runner and what belongs to the stage

class SetEpochInfo:
    "Tells the model which epoch it is in"
    def before_train_epoch(self, runner):
        model = runner.model.module if hasattr(runner.model, 'module') else runner.model
        model.set_epoch(runner.epoch)

class MeanTeacher:
    "A second network that follows the first slowly"
    priority = 'LOW'
    def __init__(self, momentum=.1, interval=1): self.momentum,self.interval = momentum,interval
    def before_train(self, runner): self.teacher = copy.deepcopy(runner.model)
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (runner.iter+1) % self.interval: return
        with torch.no_grad():
            for a,b in zip(self.teacher.parameters(), runner.model.parameters()): a.lerp_(b, self.momentum)

class SwitchPipeline:
    "Other transforms for the last epochs"
    def __init__(self, last=1): self.last,self.switched_at = last,None
    def before_train_epoch(self, runner):
        if runner.epoch == runner.max_epochs-self.last:
            runner.logger.info('switch pipeline now')
            runner.train_dataloader.dataset.noise = 0.
            self.switched_at = runner.epoch

class LossWatch:
    "Its own numbers in the message hub, and a stop when the loss is small enough"
    def __init__(self, enough): self.enough = enough
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.message_hub.update_scalar('train/log_loss', outputs['loss'].detach().log())
    def after_val_epoch(self, runner, metrics=None):
        if metrics['loss'] < self.enough: runner.train_loop.stop_training = True

class BestKeeper:
    "Adds to checkpoints what it has found"
    def __init__(self): self.best = None
    def after_val_epoch(self, runner, metrics=None): self.best = min(metrics['loss'], self.best or float('inf'))
    def before_save_checkpoint(self, runner, checkpoint): checkpoint['best_loss'] = self.best

# MMCV's dialect: methods take the runner, and find everything on it

class OptimizerHook:
    "Backward and step, written out"
    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        runner.outputs['loss'].backward()
        runner.optimizer.step()

class CheckInvalidLoss:
    def __init__(self, interval=2): self.interval,self.checked = interval,0
    def after_train_iter(self, runner):
        if (runner.iter+1) % self.interval == 0:
            assert torch.isfinite(runner.outputs['loss']), runner.logger.info('loss become infinite or NaN!')
            self.checked += 1

class GradNorm:
    "Writes into the log buffer, as hooks of MMCV do"
    def after_train_iter(self, runner):
        norm = torch.stack([p.grad.norm() for p in runner.model.parameters()]).norm()
        runner.log_buffer.update({'total_norm': float(norm)}, runner.outputs['num_samples'])

class WarmRestart:
    "Sets the rate of each group at the beginning of an epoch"
    def before_run(self, runner):
        for g in runner.optimizer.param_groups: g.setdefault('initial_lr', g['lr'])
        self.base = [g['initial_lr'] for g in runner.optimizer.param_groups]
    def before_train_epoch(self, runner):
        for g,lr in zip(runner.optimizer.param_groups, self.base): g['lr'] = lr/(1+runner.epoch)
        self.seen = runner.current_lr()

class Messages:
    "Counts what it sees, by the names of the runner, and leaves a message for others"
    def __init__(self): self.modes = []
    def before_epoch(self, runner): self.modes.append((runner.mode, len(runner.data_loader)))
    def after_iter(self, runner): runner.meta['hook_msgs']['last'] = (runner.mode, runner.epoch, runner.inner_iter, runner._max_epochs)
