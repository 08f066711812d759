#!/bin/sh
# I2ICodec on discs at three weights of the rate, 200 iterations each, measured and drawn: 25 minutes on two busy cores.
set -e
here=$(cd "$(dirname "$0")" && pwd)
python "$here/discs.py" discs
for lambda in 0.01 0.1 0.5; do
    nic-train name="discs_$lambda" codec=i2icodec task=translation data=domains data.train="$PWD/discs/train" \
        data.validation="$PWD/discs/val" 'data.domains=[blue,red]' data.size=32 data.samples_per_epoch=1600 \
        codec.base=8 codec.widest=32 codec.halvings=2 codec.latents=32 codec.hyper=32 codec.style_dim=16 codec.latent_dim=8 \
        codec.decoder_input=ste task.lambda_t="$lambda" task.learning_rate=1e-3 task.mapping_learning_rate=1e-5 \
        task.quantile_learning_rate=1e-2 task.ema_decay=0.98 task.diversity_iterations=200 trainer.max_steps=200 \
        'evaluation.datasets=[]' logger=none
    nic-evaluate run="runs/discs_$lambda" translation.train="$PWD/discs/train" translation.validation="$PWD/discs/val" \
        'translation.extractors=[alexnet]' 'translation.through=[jpeg_optimized]' 'evaluation.datasets=[]'
done
nic grid runs/discs_0.01 runs/discs_0.1 runs/discs_0.5 --images "$PWD/discs/val" -o figures --overwrite
