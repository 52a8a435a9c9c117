//! Checkpoints: everything a run needs to go on as if it had never stopped, in one safetensors file, written atomically.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::objective::LossSums;
use crate::observe::EpochReport;
use crate::params::{AdamW, Array, Params};
use crate::state::{Best, RunState};

const KEY: &str = "peregrine-checkpoint";

/// What run a checkpoint belongs to: nothing may go on with another configuration or other data.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) config: String,
    pub(crate) train: String,
    pub(crate) validation: String,
    pub(crate) parent: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Header {
    identity: Identity,
    epoch: u32,
    step: u64,
    steps_done: u64,
    optimizer_steps: u64,
    // Floats as their bits: JSON's decimal digits need not come back to the last one.
    best: Option<(u32, u64)>,
    stale_epochs: u32,
    sums: [u64; 6],
    return_nll: Vec<(u64, u64)>,
    history: Vec<EpochReport>,
}

fn flat(name: &str, params: &Params<f32>, to: &mut Vec<(String, Vec<usize>, Vec<u8>)>) {
    for (key, array) in &params.0 {
        let bytes = array.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        to.push((format!("{name}/{key}"), array.shape.clone(), bytes));
    }
}

fn scalars(sums: &LossSums) -> [f64; 6] {
    let (cross_entropy, count) = sums.direction;
    [sums.reconstruction, sums.kl, sums.kl_charged, sums.rows, cross_entropy, count]
}

/// Saves a run.
pub(crate) fn save(path: &Path, identity: &Identity, state: &RunState) -> Result<(), TrainError> {
    let sums = &state.sums;
    let header = Header {
        identity: identity.clone(),
        epoch: state.epoch,
        step: state.step,
        steps_done: state.steps_done,
        optimizer_steps: state.optimizer.steps,
        best: state.best.as_ref().map(|best| (best.epoch, best.loss.to_bits())),
        stale_epochs: state.stale_epochs,
        sums: scalars(sums).map(f64::to_bits),
        return_nll: sums.return_nll.iter().map(|(sum, count)| (sum.to_bits(), count.to_bits())).collect(),
        history: state.history.clone(),
    };
    let mut arrays = Vec::new();
    flat("params", &state.params, &mut arrays);
    flat("first", &state.optimizer.first, &mut arrays);
    flat("second", &state.optimizer.second, &mut arrays);
    if let Some(best) = &state.best {
        flat("best", &best.params, &mut arrays);
    }
    let lanes = state.lanes.iter().flat_map(|x| x.to_le_bytes()).collect();
    arrays.push(("lanes".to_owned(), vec![state.lanes.len()], lanes));
    let fault = |what: String| TrainError::Checkpoint { path: path.to_owned(), what };
    let mut views = Vec::with_capacity(arrays.len());
    for (name, shape, bytes) in &arrays {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|error| fault(error.to_string()))?;
        views.push((name.as_str(), view));
    }
    let json = serde_json::to_string(&header).map_err(|error| fault(error.to_string()))?;
    let bytes = safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), json)])));
    peregrine_dataset::write_atomically(path, &bytes.map_err(|error| fault(error.to_string()))?)
        .map_err(TrainError::io(path))
}

/// Loads a run, refusing one of another configuration or of other data.
pub(crate) fn load(path: &Path, identity: &Identity) -> Result<RunState, TrainError> {
    let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
    let fault = |what: String| TrainError::Checkpoint { path: path.to_owned(), what };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| fault(error.to_string()))?;
    let json = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let json = json.ok_or_else(|| fault(format!("has no `{KEY}`: it is not a checkpoint")))?;
    let header: Header = serde_json::from_str(json).map_err(|error| fault(error.to_string()))?;
    let (found, wanted) = (&header.identity, identity);
    let parts = [
        ("configuration", found.config == wanted.config),
        ("training data", found.train == wanted.train),
        ("validation data", found.validation == wanted.validation),
        ("parent", found.parent == wanted.parent),
    ];
    if let Some((part, _)) = parts.iter().find(|(_, is_same)| !is_same) {
        return Err(fault(format!("belongs to a run with another {part}; remove it to start afresh")));
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| fault(error.to_string()))?;
    let mut lanes = Vec::new();
    let mut groups: HashMap<&str, Params<f32>> = HashMap::new();
    for (name, view) in tensors.iter() {
        let data: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match name.split_once('/') {
            None => lanes = data,
            Some((group, key)) => {
                let array = Array::new(view.shape().to_vec(), data);
                groups.entry(group).or_default().0.insert(key.to_owned(), array);
            }
        }
    }
    let mut take = |group: &str| groups.remove(group).unwrap_or_default();
    let best = header.best.map(|(epoch, loss)| Best { epoch, loss: f64::from_bits(loss), params: take("best") });
    let optimizer = AdamW { steps: header.optimizer_steps, first: take("first"), second: take("second") };
    let [reconstruction, kl, kl_charged, rows, cross_entropy, count] = header.sums.map(f64::from_bits);
    let pair = |(sum, count): &(u64, u64)| (f64::from_bits(*sum), f64::from_bits(*count));
    let return_nll = header.return_nll.iter().map(pair).collect();
    let direction = (cross_entropy, count);
    Ok(RunState {
        epoch: header.epoch,
        step: header.step,
        steps_done: header.steps_done,
        params: take("params"),
        optimizer,
        best,
        stale_epochs: header.stale_epochs,
        lanes,
        sums: LossSums { reconstruction, kl, kl_charged, rows, return_nll, direction },
        history: header.history,
    })
}
