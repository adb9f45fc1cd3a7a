//! Many ill-behaved clients at one time.

use std::time::Instant;

use super::{Healing, Striker};
use crate::load::{LogWriter, misbehave};
use crate::random::Random;
use crate::schedule::{MODELS, Manner};

impl Striker<'_> {
    /// Lets them loose; nothing needs healing if everything is served in the midst of them.
    pub(super) fn crowd(
        &self,
        manner: Manner,
        clients: usize,
        random: &mut Random,
    ) -> Result<Healing, String> {
        let crowd = self.next_crowd();
        std::thread::scope(|scope| {
            let strike = Instant::now();
            let crowd: Vec<_> = (0..clients)
                .map(|number| {
                    let mut random = random.split();
                    let mut log = LogWriter::new(format!("crowd-{crowd}-{number}"));
                    scope.spawn(move || {
                        misbehave(self.scene, manner, &mut random, &mut log);
                        log.book
                    })
                })
                .collect();
            let served = MODELS
                .iter()
                .try_for_each(|model| self.until_model_serves(model, random))
                .and_then(|()| self.until_log_works(random));
            let recovery = served.map(|()| strike.elapsed());
            for client in crowd {
                let book = client.join().expect("a client does not panic");
                self.log.lock().unwrap().book.sent.extend(book.sent);
            }
            Ok(Healing {
                recovery,
                ..Healing::since(strike)
            })
        })
    }
}
