//! The list of all posts: nine bytes each, many in a row.

use super::overlay::Overlay;
use super::{Post, PostId, StoreError, rows};
use crate::domain::names::DeploymentId;

/// A letter for the kind, and the number.
const LENGTH: usize = 1 + 8;

/// Adds the post that comes next.
pub(super) fn add(rows: &mut Overlay<'_>, id: PostId, post: &Post) -> Result<(), StoreError> {
    let (kind, number) = match post {
        Post::Build { seq } => (b'b', *seq),
        Post::Live { id } => (b'l', id.0),
        Post::Closing { id } => (b'c', id.0),
        Post::Votes { seq } => (b'v', *seq),
        Post::Told { seq } => (b'n', *seq),
    };
    let (row, _) = rows::post(id);
    let mut page = rows.get(&row)?.unwrap_or_default();
    page.push(kind);
    page.extend(number.to_be_bytes());
    rows.put(row, page)
}

/// A post, if there is one of this number.
pub(super) fn get(rows: &Overlay<'_>, id: PostId) -> Result<Option<Post>, StoreError> {
    let (row, place) = rows::post(id);
    let page = rows.get(&row)?.unwrap_or_default();
    let Some((kind, number)) = page.chunks(LENGTH).nth(place).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    let number = rows::number(number)?;
    match kind {
        b'b' => Ok(Some(Post::Build { seq: number })),
        b'l' => Ok(Some(Post::Live { id: DeploymentId(number) })),
        b'c' => Ok(Some(Post::Closing { id: DeploymentId(number) })),
        b'v' => Ok(Some(Post::Votes { seq: number })),
        b'n' => Ok(Some(Post::Told { seq: number })),
        _ => Err(StoreError::Damaged(format!("post {} is of an unknown kind", id.0))),
    }
}
