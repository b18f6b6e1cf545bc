//! What is wanted: the settings as the files have them, and the changes of upstreams made since.

use std::borrow::Cow;
use std::sync::Arc;

use super::state::StateFolder;
use crate::admin::Refused;
use crate::config::{Objection, Overlay, Plan, PoolSpec, UpstreamOrder};

/// Compiles to the plan in force.
#[derive(Debug)]
pub struct Desired {
    /// What the sources ask for, as far as this process can go by it.
    asked: Plan,
    overlay: Overlay,
    folder: Option<StateFolder>,
}

impl Desired {
    /// What `asked` and the changes that were kept amount to.
    ///
    /// # Errors
    /// When changes are to be kept in a folder that cannot be used.
    pub fn new(asked: Plan) -> Result<Desired, String> {
        let folder = asked.process.state.as_deref().map(StateFolder::open).transpose()?;
        let overlay = folder.as_ref().map(StateFolder::read).unwrap_or_default();
        let mut desired = Desired { asked, overlay, folder };
        desired.prune().iter().for_each(|dropped| tracing::warn!("{dropped}"));
        Ok(desired)
    }

    /// The plan to go by.
    pub fn plan(&self) -> Plan {
        self.overlay.over(&self.asked)
    }

    /// What the sources ask for.
    pub fn asked_pools(&self) -> &Vec<Arc<PoolSpec>> {
        &self.asked.pools
    }

    /// What was changed at run time.
    pub fn changes(&self) -> &Overlay {
        &self.overlay
    }

    /// Changes outlive the process.
    pub fn is_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// The sources ask for this now; what that means for changes made at run time, a line each.
    pub fn ask(&mut self, asked: Plan) -> Vec<String> {
        let mut told = self.overlay.held_weights(&self.asked, &asked);
        self.asked = asked;
        told.extend(self.prune());
        told
    }

    /// Changes an upstream, and writes that down before anybody hears of it, unless the plan that comes of it fails the
    /// `check`. `false`: it was so before.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn change(
        &mut self,
        order: &UpstreamOrder,
        check: impl FnOnce(&Plan) -> Result<(), String>,
    ) -> Result<bool, Refused> {
        let refused = |status, code, field, message: String| Refused {
            status,
            code,
            message: message.into(),
            field: Cow::Borrowed(field),
            text: String::new(),
        };
        let mut overlay = self.overlay.clone();
        let changed = overlay
            .change(&self.asked, order)
            .map_err(|Objection(field, message)| refused(400, "upstream", field, message))?;
        if changed {
            check(&overlay.over(&self.asked)).map_err(|why| refused(400, "tls", "url", why))?;
        }
        if changed && let Some(folder) = &self.folder {
            folder.write(&overlay).map_err(|error| refused(500, "state", "", error))?;
        }
        self.overlay = overlay;
        Ok(changed)
    }

    fn prune(&mut self) -> Vec<String> {
        let before = self.overlay.clone();
        let mut told = self.overlay.prune(&self.asked);
        if self.overlay != before
            && let Some(folder) = &self.folder
            && let Err(error) = folder.write(&self.overlay)
        {
            told.push(error); // it is pruned again at the next start
        }
        told
    }
}
